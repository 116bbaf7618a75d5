//! What is masked, and what is not.

use super::named::ASSIGNED;
use super::*;

/// As random as a test may be: the same every time. Made here, so that nobody who looks for keys in this repository
/// finds one.
fn drawn(length: usize, alphabet: &str) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    let alphabet: Vec<_> = alphabet.chars().collect();
    (0..length).map(|_| alphabet[random.usize(..alphabet.len())]).collect()
}

fn letters(length: usize) -> String {
    drawn(length, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
}

#[test]
fn every_pattern_is_one() {
    assert!(KNOWN.iter().all(|(_, pattern)| pattern.is_some()), "of a format");
    assert!(KNOWN_PLACES.iter().all(|(_, pattern)| pattern.is_some()), "of a place");
    assert!(ASSIGNED.is_some() && VALUE.is_some() && IS_DIGEST.is_some());
}

#[test]
fn keys_are_known_by_their_formats() {
    let upper = drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    for (key, name) in [
        (format!("AKIA{upper}"), "AWS key"),
        (format!("ghp_{}", letters(36)), "GitHub token"),
        (format!("github_pat_{}_{}", letters(22), letters(40)), "GitHub token"),
        (format!("glpat-{}", letters(20)), "GitLab token"),
        (format!("sk-proj-{}", letters(48)), "API key"),
        (format!("sk-ant-api03-{}", letters(80)), "API key"),
        (format!("gsk_{}", letters(52)), "API key"),
        (format!("hf_{}", letters(34)), "API key"),
        (format!("AIza{}", letters(35)), "Google key"),
        (format!("xoxb-{}-{}", letters(11), letters(24)), "Slack token"),
        (format!("sk_live_{}", letters(24)), "API key"),
        (format!("rk_live_{}", letters(24)), "Stripe key"),
        (format!("npm_{}", letters(36)), "npm token"),
        (format!("SG.{}.{}", letters(22), letters(43)), "SendGrid key"),
        (format!("eyJ{}.eyJ{}.{}", letters(20), letters(30), letters(43)), "signed token"),
    ] {
        for text in [format!("curl -H 'x: {key}'"), key.clone(), format!("// {key}\nnext")] {
            let masked = mask(&text);
            assert_eq!(masked.count, 1, "{text}");
            assert!(masked.text.contains(&format!("[masked: {name}]")), "{}", masked.text);
            assert!(!masked.text.contains(&key), "{}", masked.text);
        }
    }
}

#[test]
fn a_private_key_is_masked_whole_even_when_its_end_is_missing() {
    let begin = format!("-----BEGIN RSA {} KEY-----", "PRIVATE");
    let end = format!("-----END RSA {} KEY-----", "PRIVATE");
    let body = letters(64);
    let whole = mask(&format!("a\n{begin}\n{body}\n{end}\nb")).text.into_owned();
    assert_eq!(whole, "a\n[masked: private key]\nb");
    assert_eq!(mask(&format!("a\n{begin}\n{body}")).text, "a\n[masked: private key]");
}

#[test]
fn a_name_says_that_its_value_is_secret() {
    for text in [
        "const password = \"hunter22\"",
        "PASSWORD='s3cretly'",
        "\"apiKey\": \"abcdef123\"",
        "db.passwd := `opensesame`",
        "export DB_PASSWORD=hunter2222",
        "client_secret: abcd1234efgh",
        "ACCESS_TOKEN=\"abcdefgh\"",
        "const PASSWORD: &'static str = \"hunter22\";",
        "let token: string = 'abcdefgh'",
        "sessionToken: 'abcdefgh'",
        "config.openaiApiKey = 'abcdefgh'",
        "if (password === \"hunter22\") {",
    ] {
        let masked = mask(text);
        assert_eq!(masked.count, 1, "{text}");
    }
    let url = mask("postgres://app:hunter22@db/prod");
    assert_eq!(url.text, "postgres://app:[masked: password]@db/prod");
}

#[test]
fn what_only_stands_for_a_secret_stays() {
    for text in [
        "api_key: \"${OPENAI_API_KEY}\"",
        "const token = process.env.TOKEN_OF_THIS",
        "password = \"<your password>\"",
        "api_key = 'your-key-here'",
        "let token = next_token();",
        "MAX_TOKENS=4096000000",
        "postgres://app:${DB_PASSWORD}@db/prod",
        "password: 'Enter your password'",
        "let api_key = config::read_key2::<Key>",
        "pub struct Token { text: String }",
        "\"tiktoken\": \"1.0.22-beta\"",
        "integrity = \"sha512-AbCdEf0123456789AbCdEf0123456789xyz\"",
        "let name = \"a_perfectly_ordinary_identifier_v2\"",
    ] {
        let masked = mask(text);
        assert_eq!((masked.count, &*masked.text), (0, text));
    }
}

#[test]
fn a_random_value_is_masked_whatever_its_name() {
    let value = drawn(40, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    assert_eq!(mask(&format!("salt = \"{value}\"")).text, "salt = \"[masked: secret]\"");
}

#[test]
fn masking_twice_masks_nothing_more() {
    let text = format!("password = \"hunter22\"\nkey: sk-{}", letters(40));
    let once = mask(&text).text.into_owned();
    assert_eq!(mask(&once).count, 0, "{once}");
}

#[test]
fn no_way_of_writing_a_secret_lets_it_through() {
    // Made here, so that nobody who looks for keys in this repository finds one.
    let word = letters(12);
    let long = letters(32);
    let hex = drawn(64, "0123456789abcdef");
    let mut leaks = Vec::new();
    for (secret, text) in [
        (&*word, "DB_PASSWORD=@\r\nX=1\r\n"),
        (&*word, "db:\r\n  password: @\r\n"),
        (&*word, "DB_PASSWORD=@ \n"),
        (&*word, "password: @ # of production\n"),
        (&*word, "password = @ ; of production\n"),
        ("correct-horse-battery", "password: @\n"),
        ("opensesame", "password: @\n"),
        ("correct horse battery", "password: @\n"),
        ("br{ce}P4ss99", "spring.password = @\n"),
        ("12345678", "PGPASSWORD=@"),
        (&*word, "<server><password>@</password></server>"),
        (&*word, "<add key=\"Password\" value=\"@\" />"),
        (&*word, "<key>password</key>\n<string>@</string>"),
        (&*word, "<add connectionString=\"Server=db;User=a;Password=@;\" />"),
        (&*word, "'Server=db;Pwd=@'"),
        (&*long, "AccountName=a;AccountKey=@;EndpointSuffix=x"),
        (&*long, "curl -H \"Authorization: Bearer @\" http://x"),
        ("dXNlcjpzM2NyZXQ=", "curl -H 'Authorization: Basic @'"),
        (&*word, "headers: { authorization: `Bearer @` }"),
        (&*word, "mysql --password=@ -u x"),
        (&*word, "mysql --password @ -u x"),
        (&*word, "mysql -u root -p@ shop"),
        (&*word, "curl -u admin:@ http://x"),
        (&*word, "const s = \"{\\\"password\\\":\\\"@\\\"}\";"),
        ("esc\\\"aped99pw", "const password = \"@\";"),
        ("$ecretP4ss99", "const password = \"@\""),
        ("%Px82kdLLq1", "const pwd='@'"),
        ("my-S3cretValue42", "const secret='@'"),
        ("tall green 42 horses", "const passphrase=\"@\""),
        ("correct horse battery", "passphrase = '@'"),
        ("pw123", "password = \"@\""),
        (&*hex, "SECRET_KEY_BASE = \"@\""),
        (&*hex, "whatever = \"@\""),
        (&*hex, "whatever: @"),
        (&*word, "KEYS = [\"@\"]"),
        (&*word, "API_KEYS = [\n  'other1',\n  '@',\n]"),
        (&*word, "password = \"\"\"@\"\"\""),
        (&*word, "password = '''\n@\n'''"),
        (&*word, "set_password(\"@\")"),
        (&*word, "setenv(\"DB_PASSWORD\", \"@\", 1)"),
        (&*word, "password = os.environ.get('DB_PASSWORD', '@')"),
        (&*word, "const password = process.env.PASSWORD || '@'"),
        (&*word, "password: \"${DB_PASSWORD:-@}\""),
        (&*word, "let password = String::from(\"@\");"),
        (&*word, "machine a login b password @\n"),
        (&*word, "machine a\n  login b\n  password @\n"),
        (&*word, "ENV DB_PASSWORD @\n"),
        (&*word, "ENV DB_PASSWORD=@ OTHER=1\n"),
        (&*word, "requirepass @\r\n"),
        (&*word, "- name: DB_PASSWORD\n  value: \"@\"\n"),
        (&*word, "{\"name\": \"DB_PASSWORD\", \"value\": \"@\"}"),
        (&*word, "variable \"db_password\" {\n  default = \"@\"\n}"),
        (&*word, "{user: a, password: @, x: y}"),
        (&*word, "connect(user=u, password='@')"),
        (&*word, "'password' => '@',"),
        (&*word, "https://x.test/?api_key=@&b=1"),
        ("p@ssW0rd77", "\"postgres://app:~@db/x\""),
        (&*word, "redis://:@@h"),
        (&*word, "mongodb+srv://u:@@h/x"),
    ] {
        let text = if text.contains('~') { text.replace('~', secret) } else { text.replacen('@', secret, 1) };
        let masked = mask(&text);
        if masked.text.contains(secret) || masked.count == 0 {
            leaks.push(format!("{text} → {}", masked.text));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
