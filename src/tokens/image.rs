//! What a picture costs in tokens, by its size where that can be read.
//!
//! The size stands in the first bytes of an inlined picture; a linked one is taken for [`UNSEEN`] pixels, because fetching
//! it would cost more than it tells. Sources, all as published in 2026: OpenAI's guide "Images and vision", Anthropic's
//! "Vision", Google's "Understand and count tokens".

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::types::{ImageUrl, Part};

/// Tokens of a part that is not text and of which nothing is known: a picture of 1024 × 1024 read in four tiles of 170 and
/// an overview of 85.
pub const PART_TOKENS: u64 = 765;

/// The size of a picture that is not at hand.
const UNSEEN: Pixels = Pixels { width: 1024, height: 1024 };

/// Base64 letters that are decoded: a JPEG says its size behind its previews and colour profile.
const HEAD_LETTERS: usize = 256 * 1024;

/// OpenAI's models by how their names begin, longer ones first: tokens of the overview and of a tile of 512 × 512.
const TILES: &[(&str, u64, u64)] = &[
    ("gpt-4o-mini", 2_833, 5_667),
    ("gpt-4o", 85, 170),
    ("chatgpt-4o", 85, 170),
    ("gpt-4.1", 85, 170),
    ("gpt-4.5", 85, 170),
    ("gpt-5", 70, 140),
    ("o1", 75, 150),
    ("o3", 75, 150),
];

/// OpenAI's small models, before those above: hundredths of a token for each patch of 32 × 32.
const PATCHES: &[(&str, u64)] =
    &[("gpt-4.1-mini", 162), ("gpt-4.1-nano", 246), ("gpt-5-mini", 162), ("gpt-5-nano", 246), ("o4-mini", 172)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pixels {
    width: u32,
    height: u32,
}

/// Tokens of a part that is not text, for that model.
pub(super) fn part_tokens(part: &Part, model: &str) -> u64 {
    let Part::ImageUrl { image_url } = part else { return PART_TOKENS };
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    let low = image_url.detail.as_deref() == Some("low");
    let starts = |start: &str| name.starts_with(start);
    if let Some((_, hundredths)) = PATCHES.iter().find(|(start, _)| starts(start)) {
        return patches(pixels(image_url)) * hundredths / 100;
    }
    if let Some((_, overview, tile)) = TILES.iter().find(|(start, ..)| starts(start)) {
        return if low { *overview } else { overview + tile * tiles(pixels(image_url)) };
    }
    if name.contains("claude") {
        return claude(pixels(image_url));
    }
    if name.contains("gemini") {
        return gemini(pixels(image_url));
    }
    PART_TOKENS
}

/// At most 1536 patches; a larger picture is scaled down to them.
fn patches(Pixels { width, height }: Pixels) -> u64 {
    const MOST: u64 = 1_536;
    (u64::from(width.div_ceil(32)) * u64::from(height.div_ceil(32))).min(MOST)
}

/// Tiles of 512 × 512, after scaling down into 2048 × 2048 and then to a shorter side of 768.
fn tiles(Pixels { width, height }: Pixels) -> u64 {
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let fit = (2_048.0 / width.max(height)).min(1.0);
    let short = (768.0 / (width.min(height) * fit)).min(1.0);
    let side = |pixels: f64| (pixels * fit * short / 512.0).ceil() as u64;
    side(width) * side(height)
}

/// A token is 750 pixels, after scaling down to a longer side of 1568.
fn claude(Pixels { width, height }: Pixels) -> u64 {
    let (width, height) = (f64::from(width), f64::from(height));
    let fit = (1_568.0 / width.max(height).max(1.0)).min(1.0);
    ((width * fit * height * fit / 750.0).ceil() as u64).min(1_600)
}

/// 258 for a small picture, and for each tile of 768 × 768 of a larger one.
fn gemini(Pixels { width, height }: Pixels) -> u64 {
    if width <= 384 && height <= 384 {
        return 258;
    }
    258 * u64::from(width.div_ceil(768)) * u64::from(height.div_ceil(768))
}

fn pixels(image: &ImageUrl) -> Pixels {
    inlined(&image.url).and_then(|head| size(&head)).unwrap_or(UNSEEN)
}

/// The first bytes of a picture in a `data:` URI.
fn inlined(url: &str) -> Option<Vec<u8>> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(',')?;
    let data = data.as_bytes();
    let head = &data[..data.len().min(HEAD_LETTERS) / 4 * 4];
    kind.ends_with(";base64").then(|| BASE64_STANDARD.decode(head).ok())?
}

/// Width and height, from the head of a PNG, GIF, WebP or JPEG.
fn size(head: &[u8]) -> Option<Pixels> {
    let be16 = |at: usize| Some(u32::from(u16::from_be_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    let le16 = |at: usize| Some(u32::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    let be32 = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let le32 = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some(Pixels { width: be32(16)?, height: be32(20)? });
    }
    if head.starts_with(b"GIF8") {
        return Some(Pixels { width: le16(6)?, height: le16(8)? });
    }
    if head.starts_with(b"RIFF") && head.get(8..12)? == b"WEBP" {
        return match head.get(12..16)? {
            b"VP8X" => Some(Pixels { width: (le32(24)? & 0xff_ffff) + 1, height: (le32(27)? & 0xff_ffff) + 1 }),
            b"VP8L" => {
                let bits = le32(21)?;
                Some(Pixels { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 })
            }
            b"VP8 " => Some(Pixels { width: le16(26)? & 0x3fff, height: le16(28)? & 0x3fff }),
            _ => None,
        };
    }
    if !head.starts_with(b"\xff\xd8") {
        return None;
    }
    // A JPEG is a row of segments; the one that says the size is a start of frame.
    let mut at = 2;
    loop {
        let marker = *head.get(at + 1)?;
        if *head.get(at)? != 0xff {
            return None;
        }
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            return Some(Pixels { width: be16(at + 7)?, height: be16(at + 5)? });
        }
        at += 2 + be16(at + 2)? as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(head: &[u8], detail: Option<&str>) -> Part {
        let url = format!("data:image/x;base64,{}", BASE64_STANDARD.encode(head));
        Part::ImageUrl { image_url: ImageUrl { url, detail: detail.map(str::to_owned) } }
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes(), &[8, 2]].concat()
    }

    #[test]
    fn sizes_are_read_of_every_kind() {
        let expected = Some(Pixels { width: 640, height: 480 });
        assert_eq!(size(&png(640, 480)), expected);
        assert_eq!(size(b"GIF89a\x80\x02\xe0\x01\0"), expected);
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0\0"), expected);
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x7f\xc2\x77\0"), expected);
        assert_eq!(size(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x80\x02\xe0\x01"), expected);
        assert_eq!(size(b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\x01\xe0\x02\x80\x03"), expected);
    }

    #[test]
    fn what_is_cut_or_odd_has_no_size() {
        for head in [&b""[..], b"\x89PNG\r\n\x1a\n\0", b"\xff\xd8\xff", b"\xff\xd8ab", b"RIFF\0\0\0\0WEBPxxxx", b"BM"] {
            assert_eq!(size(head), None, "{head:?}");
        }
    }

    #[test]
    fn each_family_counts_in_its_own_way() {
        let of = |width, height, model| part_tokens(&picture(&png(width, height), None), model);
        // The examples of OpenAI's guide.
        assert_eq!(of(1024, 1024, "gpt-4o"), 765);
        assert_eq!(of(2048, 4096, "openai/gpt-4.1"), 1_105);
        assert_eq!(of(1024, 1024, "o4-mini"), 1_024 * 172 / 100);
        assert_eq!(of(4096, 8192, "gpt-5-nano"), 1_536 * 246 / 100);
        assert_eq!(part_tokens(&picture(&png(4096, 8192), Some("low")), "gpt-4o"), 85);
        assert_eq!(of(1000, 750, "claude-sonnet-4-5"), 1_000);
        assert_eq!(of(8000, 8000, "claude-sonnet-4-5"), 1_600);
        assert_eq!(of(384, 384, "gemini-2.5-pro"), 258);
        assert_eq!(of(960, 540, "gemini-2.5-pro"), 2 * 258);
        assert_eq!(of(960, 540, "llava"), PART_TOKENS);
    }

    #[test]
    fn a_picture_that_is_not_at_hand_is_a_usual_one() {
        let linked = ImageUrl { url: "https://example.com/a.png".into(), detail: None };
        assert_eq!(part_tokens(&Part::ImageUrl { image_url: linked }, "gpt-4o"), 765);
        assert_eq!(part_tokens(&picture(b"no picture", None), "gpt-4o"), 765);
        let broken = ImageUrl { url: "data:image/png;base64,???".into(), detail: None };
        assert_eq!(part_tokens(&Part::ImageUrl { image_url: broken }, "gpt-4o"), 765);
    }
}
