#[expect(clippy::disallowed_methods, reason = "cargo tells a build script its features by the environment")]
fn main() {
    if std::env::var_os("CARGO_FEATURE_NODE").is_some() {
        napi_build::setup();
    }
}
