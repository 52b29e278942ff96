//! One layer beneath every picture: the built-in font, axes with round numbers, plots of lines and points.

pub mod axis;
mod font;
mod lines;

pub use font::use_built_in_font;
pub use lines::{Mark, Plot, Series};
