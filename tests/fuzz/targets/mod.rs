//! What has to hold, target by target: what is written is read back, whatever comes in pieces is the same in other pieces,
//! what was changed on its way is refused or is still something that may be believed, and nothing panics.

mod engine;
mod list;
mod list_file;
mod packages;
mod scripted;
mod source;
mod tar;
mod text;

/// A target, and what it is called.
pub type Target = (&'static str, fn(&[u8]));

pub const ALL: [Target; 11] = [
    ("archive", packages::archive),
    ("bsdtar", tar::bsdtar),
    ("frames", engine::frames),
    ("image", text::image),
    ("list", list::list),
    ("list_file", list_file::list_file),
    ("pkgbuild", packages::pkgbuild),
    ("tar", tar::tar),
    ("text", text::text),
    ("transport", engine::transport),
    ("words", text::words),
];

/// Asserts that a text may stand in a log or on a terminal, on one line.
#[track_caller]
fn assert_one_line(text: &str) {
    let is_bad = |c: char| {
        // What reorders or hides, as Unicode has it (Bidi_Control, and the default ignorables of category Cf).
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    assert!(!text.contains(is_bad), "{text:?}");
}
