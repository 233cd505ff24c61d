//! Colours that people with any colour vision can tell apart.

/// Okabe and Ito's palette without its black; first blue and orange, which
/// differ most.
pub(super) const CATEGORIES: [&str; 7] =
    ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

/// Anchors of the scale for numbers, from little to much: dark to light, in
/// the manner of viridis, so that it also works in grey.
const SEQUENCE: [(u8, u8, u8); 6] = [
    (0x44, 0x01, 0x54),
    (0x41, 0x44, 0x87),
    (0x2a, 0x78, 0x8e),
    (0x22, 0xa8, 0x84),
    (0x7a, 0xd1, 0x51),
    (0xfd, 0xe7, 0x25),
];

/// The colour of a category. When the palette is used up it starts again,
/// darker each time.
pub(super) fn category(index: usize) -> String {
    let base = CATEGORIES[index % CATEGORIES.len()];
    let round = index / CATEGORIES.len();
    if round == 0 {
        return base.to_owned();
    }
    let channel = |at: usize| u8::from_str_radix(&base[at..at + 2], 16).unwrap_or(0);
    let darker = |value: u8| f64::from(value) * 0.68_f64.powi(i32::try_from(round.min(4)).unwrap_or(4));
    hex(darker(channel(1)), darker(channel(3)), darker(channel(5)))
}

/// The colour of a number, given where it lies between the least (0) and the greatest (1).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of anchors"
)]
#[expect(clippy::cast_precision_loss, reason = "a handful of anchors")]
pub(super) fn sequential(place: f64) -> String {
    let scaled = place.clamp(0.0, 1.0) * (SEQUENCE.len() - 1) as f64;
    let index = (scaled as usize).min(SEQUENCE.len() - 2);
    let (from, to) = (SEQUENCE[index], SEQUENCE[index + 1]);
    let part = scaled - index as f64;
    let mix = |from: u8, to: u8| f64::from(from) + (f64::from(to) - f64::from(from)) * part;
    hex(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 255")]
fn hex(red: f64, green: f64, blue: f64) -> String {
    format!("#{:02x}{:02x}{:02x}", red.round() as u8, green.round() as u8, blue.round() as u8)
}
