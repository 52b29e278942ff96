//! One layer beneath every picture: the built-in font and axes with round numbers.

pub mod axis;
mod font;

pub use font::use_built_in_font;
