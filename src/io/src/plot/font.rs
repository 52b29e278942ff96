//! The font of every picture: compiled in, so that no system font is needed.

use plotters::style::{FontStyle, register_font};

/// Makes the built-in font known to plotters as `sans-serif`.
pub fn use_built_in_font() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for style in [FontStyle::Normal, FontStyle::Bold] {
            // The only failure is a font that does not parse; text would then be missing from pictures.
            let _ = register_font("sans-serif", style, epaint_default_fonts::UBUNTU_LIGHT);
        }
    });
}
