//! Text for one line of a terminal or log, whatever came in.

/// The longest message of a command, in characters.
pub const LONGEST: usize = 300;
/// The longest field, value or range inside a message.
const LONGEST_PART: usize = 110;

/// `text` as one line without control characters (line ends become spaces, others `\u{..}`), shortened in the middle to
/// `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        match character {
            '\n' | '\r' | '\t' => line.push(' '),
            _ if is_invisible(character) => line.extend(character.escape_unicode()),
            _ => line.push(character),
        }
    }
    shorten(line, limit)
}

/// A part of a message, short enough that the other parts stay readable.
pub fn part(text: &str) -> String {
    one_line(text, LONGEST_PART)
}

fn shorten(line: String, limit: usize) -> String {
    let length = line.chars().count();
    if length <= limit {
        return line;
    }
    // The end carries what is allowed, the start what is wrong.
    let tail = limit / 3;
    let head: String = line.chars().take(limit - tail - 3).collect();
    let end: String = line.chars().skip(length - tail).collect();
    format!("{head}...{end}")
}

/// Control characters, and those that reorder or hide the text around them.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_pass_and_long_text_keeps_both_ends() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{202e}c", 300), "a b\\u{1b}[31m\\u{202e}c");
        let long = one_line(&format!("start {} end", "x".repeat(5000)), LONGEST);
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.starts_with("start x") && long.ends_with("x end"));
        assert_eq!(one_line("  ", 300), "");
    }
}
