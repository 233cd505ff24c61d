//! Writes SVG.

use std::fmt::Write;

/// A picture under construction.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    pub(super) size: f64,
    pub(super) bold: bool,
    pub(super) color: &'static str,
}

const FAMILY: &str = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif";

impl Svg {
    /// An empty picture; `title` is read aloud to those who cannot see it.
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut svg = Self { text: String::with_capacity(16 << 10) };
        let _ = write!(
            svg.text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" font-family=\"{FAMILY}\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n",
            escape(title)
        );
        svg
    }

    pub(super) fn open_group(&mut self, class: &str, attributes: &str) {
        let _ = writeln!(self.text, "<g class=\"{class}\" {attributes}>");
    }

    pub(super) fn close_group(&mut self) {
        self.text.push_str("</g>\n");
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let _ = writeln!(
            self.text,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" stroke=\"{color}\"/>",
            Short(from.0),
            Short(from.1),
            Short(to.0),
            Short(to.1)
        );
    }

    /// A rectangle; `tooltip` is shown when the pointer rests on it.
    pub(super) fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), color: &str, tooltip: &str) {
        let _ = write!(
            self.text,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{color}\"",
            Short(corner.0),
            Short(corner.1),
            Short(size.0),
            Short(size.1)
        );
        self.end_with_tooltip("rect", tooltip);
    }

    pub(super) fn circle(&mut self, center: (f64, f64), radius: f64, color: &str, tooltip: &str) {
        let _ = write!(
            self.text,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{color}\"",
            Short(center.0),
            Short(center.1),
            Short(radius)
        );
        self.end_with_tooltip("circle", tooltip);
    }

    fn end_with_tooltip(&mut self, element: &str, tooltip: &str) {
        if tooltip.is_empty() {
            self.text.push_str("/>\n");
        } else {
            let _ = writeln!(self.text, "><title>{}</title></{element}>", escape(tooltip));
        }
    }

    /// A path through the points, with the given attributes.
    pub(super) fn path(&mut self, points: &[(f64, f64)], close: bool, attributes: &str) {
        self.text.push_str("<path d=\"");
        for (index, (x, y)) in points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(self.text, "{command}{} {}", Short(*x), Short(*y));
        }
        let _ = writeln!(self.text, "{}\" {attributes}/>", if close { "Z" } else { "" });
    }

    pub(super) fn label(&mut self, at: (f64, f64), anchor: Anchor, rotate: f64, font: Font, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = (Short(at.0), Short(at.1));
        let _ = write!(
            self.text,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{}\"",
            font.size
        );
        if font.bold {
            self.text.push_str(" font-weight=\"600\"");
        }
        if rotate != 0.0 {
            let _ = write!(self.text, " transform=\"rotate({rotate} {x} {y})\"");
        }
        let _ = writeln!(self.text, " fill=\"{}\">{}</text>", font.color, escape(text));
    }

    pub(super) fn raw(&mut self, markup: &str) {
        self.text.push_str(markup);
        self.text.push('\n');
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A coordinate with at most two digits behind the point.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Adding zero turns -0 into 0.
        write!(formatter, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

/// Text as XML holds it. What XML cannot hold at all becomes a replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\r' | '\t' => escaped.push(' '),
            other if (other as u32) < 0x20 || matches!(other, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// How wide a text is, in pixels: a good guess for common sans-serif fonts.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let of_character = |character: char| match character {
        'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' | 'I' => 0.27,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | ' ' | '/' => 0.33,
        'm' | 'M' | 'W' | '%' | '@' => 0.87,
        'w' => 0.72,
        'A'..='Z' | '&' => 0.68,
        character if character.is_ascii() => 0.56,
        // Chinese, Japanese, Korean and symbols take a square.
        '\u{1100}'.. => 1.0,
        _ => 0.6,
    };
    text.chars().map(of_character).sum::<f64>() * size
}

/// The text, cut so that it is at most `width` wide.
pub(super) fn fit(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        kept.push(character);
        if text_width(&kept, size) + size > width {
            kept.pop();
            break;
        }
    }
    format!("{}…", kept.trim_end())
}
