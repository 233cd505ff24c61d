use std::collections::HashMap;

use super::channel::Channel;
use super::color;
use super::data::Datum;
use super::scale::{Ends, Scale, count};
use super::svg::{Anchor, Font, Svg, fit, text_width};

const TITLE: Font = Font { size: 12.0, bold: true, color: "#222222" };
const LABEL: Font = Font { size: 11.0, bold: false, color: "#333333" };
const ROW: f64 = 18.0;
const WIDEST: f64 = 170.0;
const BAR_WIDTH: f64 = 14.0;

/// Which colour stands for what.
#[derive(Debug)]
pub(super) enum Legend {
    Names { title: String, names: Vec<String>, places: HashMap<String, usize>, shown: usize },
    Numbers { title: String, scale: Scale },
}

impl Legend {
    pub(super) fn new(channel: &Channel, height: f64) -> Self {
        let title = channel.title.clone();
        if !channel.is_discrete() {
            // From the least to the greatest value, so that the whole scale is used.
            let scale = Scale::new(channel, None, Ends::Exact, 5);
            return Self::Numbers { title, scale };
        }
        let names = channel.names();
        let places = names.iter().cloned().zip(0..).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows of a picture")]
        let room = ((height - 90.0) / ROW).max(1.0) as usize;
        let shown = if names.len() > room { room.saturating_sub(1).max(1) } else { names.len() };
        Self::Names { title, names, places, shown }
    }

    /// The colour of a value.
    pub(super) fn color(&self, value: &Datum) -> Option<String> {
        match self {
            Self::Names { places, .. } => places.get(&value.text()).map(|index| color::category(*index)),
            Self::Numbers { scale, .. } => scale.place(value).map(color::sequential),
        }
    }

    /// How wide the legend is, in pixels.
    pub(super) fn width(&self) -> f64 {
        let labels = |texts: &mut dyn Iterator<Item = &String>| {
            texts.map(|text| text_width(text, LABEL.size)).fold(0.0, f64::max) + 22.0
        };
        let (title, widest) = match self {
            Self::Names { title, names, shown, .. } => (title, labels(&mut names.iter().take(*shown))),
            Self::Numbers { title, scale } => {
                (title, labels(&mut scale.ticks().iter().map(|(_, label)| label)))
            }
        };
        widest.max(text_width(title, TITLE.size) * 1.05).clamp(30.0, WIDEST)
    }

    /// Draws the legend with its upper left corner at the place.
    pub(super) fn draw(&self, svg: &mut Svg, left: f64, top: f64, height: f64) {
        svg.open_group("legend", "");
        match self {
            Self::Names { title, names, shown, .. } => {
                svg.label((left, top + 10.0), Anchor::Start, 0.0, TITLE, &fit(title, TITLE.size, WIDEST));
                for (index, name) in names.iter().take(*shown).enumerate() {
                    let y = top + 20.0 + count(index) * ROW;
                    svg.rectangle((left, y), (11.0, 11.0), &color::category(index), "");
                    let label = fit(name, LABEL.size, WIDEST - 18.0);
                    svg.label((left + 17.0, y + 9.5), Anchor::Start, 0.0, LABEL, &label);
                }
                if names.len() > *shown {
                    let y = top + 29.5 + count(*shown) * ROW;
                    let rest = format!("and {} more", names.len() - shown);
                    svg.label((left, y), Anchor::Start, 0.0, LABEL, &rest);
                }
            }
            Self::Numbers { title, scale } => {
                svg.label((left, top + 10.0), Anchor::Start, 0.0, TITLE, &fit(title, TITLE.size, WIDEST));
                draw_bar(svg, scale, left, top + 22.0, (height - 30.0).min(200.0));
            }
        }
        svg.close_group();
    }
}

fn draw_bar(svg: &mut Svg, scale: &Scale, left: f64, top: f64, height: f64) {
    let stops: String = (0..=10)
        .map(|step| {
            let place = f64::from(step) / 10.0;
            format!("<stop offset=\"{place}\" stop-color=\"{}\"/>", color::sequential(place))
        })
        .collect();
    svg.raw(&format!(
        "<defs><linearGradient id=\"scale\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">{stops}</linearGradient></defs>"
    ));
    svg.rectangle((left, top), (BAR_WIDTH, height), "url(#scale)", "");
    for (place, label) in scale.ticks() {
        let y = top + (1.0 - place) * height;
        svg.label((left + BAR_WIDTH + 6.0, y + 4.0), Anchor::Start, 0.0, LABEL, &label);
    }
}
