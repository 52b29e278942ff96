//! One self-contained HTML page: headings, text, tables, SVG and PNG inside the file, nothing from elsewhere.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A part of a page.
#[derive(Debug, Clone)]
pub enum Section {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Rows of cells, the first row as head.
    Table(Vec<Vec<String>>),
    /// PNG bytes (also animated) with the words below them.
    Picture(Vec<u8>, String),
    /// An SVG document.
    Svg(String),
    /// Text as it is, folded away under a title.
    Verbatim(String, String),
}

/// A page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In the head and on top.
    pub title: String,
    /// From above.
    pub sections: Vec<Section>,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222}\
img,svg{max-width:100%;height:auto}figure{margin:1em 0}figcaption{color:#555;font-size:14px}\
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ddd;padding:.3em .7em;text-align:left;vertical-align:top}\
th{background:#f4f5f7}pre{background:#f6f8fa;padding:1em;overflow:auto;font-size:13px}";

impl Page {
    /// The document.
    ///
    /// ```
    /// use proxflow::pictures::{Page, Section};
    /// let page = Page { title: "A < B".into(), sections: vec![Section::Text("1 & 2".into())] };
    /// let html = page.to_html();
    /// assert!(html.contains("A &lt; B") && html.contains("1 &amp; 2"));
    /// ```
    pub fn to_html(&self) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{0}</title><style>{STYLE}</style></head>\n<body>\n<h1>{0}</h1>\n",
            escape(&self.title)
        );
        for section in &self.sections {
            // Writing to a string cannot fail.
            let _ = match section {
                Section::Heading(text) => writeln!(html, "<h2>{}</h2>", escape(text)),
                Section::Text(text) => writeln!(html, "<p>{}</p>", escape(text)),
                Section::Table(rows) => writeln!(html, "{}", table(rows)),
                Section::Picture(png, words) => {
                    let words = escape(words);
                    writeln!(
                        html,
                        "<figure><img alt=\"{words}\" src=\"data:image/png;base64,{}\"><figcaption>{words}</figcaption></figure>",
                        STANDARD.encode(png)
                    )
                }
                Section::Svg(svg) => {
                    let body = svg.find("<svg").map_or("", |start| &svg[start..]);
                    writeln!(html, "<figure>{body}</figure>")
                }
                Section::Verbatim(title, text) => writeln!(
                    html,
                    "<details><summary>{}</summary><pre>{}</pre></details>",
                    escape(title),
                    escape(text)
                ),
            };
        }
        html + "</body>\n</html>\n"
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::from("<table>");
    for (k, row) in rows.iter().enumerate() {
        let tag = if k == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        let _ = write!(text, "<tr>{cells}</tr>");
    }
    text + "</table>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_refers_to_nothing_outside_itself() {
        let page = Page {
            title: "run".into(),
            sections: vec![
                Section::Heading("h".into()),
                Section::Table(vec![vec!["a".into()], vec!["<b>".into()]]),
                Section::Picture(vec![1, 2, 3], "words \"quoted\"".into()),
                Section::Svg("<?xml version=\"1.0\"?><svg></svg>".into()),
                Section::Verbatim("config".into(), "x = 1".into()),
            ],
        };
        let html = page.to_html();
        assert!(html.contains("data:image/png;base64,AQID") && html.contains("<svg></svg>"));
        assert!(html.contains("<td>&lt;b&gt;</td>") && !html.contains("<?xml"));
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\"/"));
    }
}
