//! Just enough understanding of Rust and Markdown for the rules of the tidy test.

/// Replaces comments, strings and character literals by spaces; lines keep their numbers.
pub(crate) fn blank_out(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if !follows_word(&chars, at) => end_of_raw_string(&chars, at).unwrap_or(at),
            '\'' => end_of_character(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether what stands before `at` is part of the same word. A `b` or `c` of a literal is not.
fn follows_word(chars: &[char], at: usize) -> bool {
    match at.checked_sub(1).map(|before| chars[before]) {
        Some('b' | 'c') => at >= 2 && is_word(chars[at - 2]),
        Some(before) => is_word(before),
        None => false,
    }
}

fn end_of_line(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}

fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `None`: no raw string begins here.
fn end_of_raw_string(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let first = at + 1 + hashes;
    if chars.get(first) != Some(&'"') {
        return None;
    }
    let closes = |quote: usize| {
        chars[quote] == '"'
            && chars[quote + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let last = (first + 1..chars.len()).find(|&quote| closes(quote))?;
    Some(last + 1 + hashes)
}

/// `None`: a lifetime.
fn end_of_character(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let close = chars.get(at + 3..)?.iter().position(|&c| c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// The paths below `crate` that blanked-out code names, with the line of each: `a::b` for
/// `crate::a::b`, and both `a::b` and `a::c` for `crate::a::{b, c}`.
pub(crate) fn crate_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) || code[..at].ends_with('$') {
            continue;
        }
        let line = line_of(code, at);
        let mut rest = &code[at + "crate::".len()..];
        for path in tree(&mut rest) {
            paths.push((line, path));
        }
    }
    paths
}

/// Reads a path or a tree of paths in braces, and moves `rest` behind it.
fn tree(rest: &mut &str) -> Vec<Vec<String>> {
    *rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        *rest = group;
        let mut paths = Vec::new();
        loop {
            *rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if rest.is_empty() {
                return paths;
            }
            if let Some(after) = rest.strip_prefix('}') {
                *rest = after;
                return paths;
            }
            paths.extend(tree(rest));
            // What is no part of a path, as in `self as name`.
            *rest = rest.trim_start_matches(|c: char| is_word(c) || c == ' ' || c == '*');
        }
    }
    let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(length);
    *rest = after;
    let here = vec![word.to_owned()];
    let Some(mut deeper) = rest.strip_prefix("::") else { return vec![here] };
    let below = tree(&mut deeper);
    *rest = deeper;
    below.into_iter().map(|path| [here.clone(), path].concat()).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Whether `word` stands in `line` by itself.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_word) && !line[at + word.len()..].starts_with(is_word)
    })
}

/// The lines of blanked-out code, each with its number and whether it belongs to a model: an item
/// that `cfg(loom)`, alone or in `all`, has in the build.
pub(crate) fn lines_and_models(code: &str) -> Vec<(usize, &str, bool)> {
    let mut lines = Vec::new();
    let mut depth = 0_i32;
    // The depth at which the model opened; `pending` from its attribute to its first brace.
    let mut model: Option<i32> = None;
    let mut pending = false;
    for (index, line) in code.lines().enumerate() {
        let asks = line.contains("cfg(") && has_word(line, "loom") && !line.contains("not(loom)");
        if model.is_none() && asks {
            pending = true;
        }
        lines.push((index + 1, line, pending || model.is_some()));
        for c in line.chars() {
            match c {
                '{' => {
                    depth += 1;
                    if std::mem::take(&mut pending) {
                        model = Some(depth);
                    }
                }
                '}' => {
                    if model == Some(depth) {
                        model = None;
                    }
                    depth -= 1;
                }
                ';' if pending => pending = false,
                _ => {}
            }
        }
    }
    lines
}

/// The rows of the first table after the heading that has `title`: each cell's text.
pub(crate) fn table<'a>(markdown: &'a str, title: &str) -> Vec<Vec<&'a str>> {
    let lines =
        markdown.lines().skip_while(|line| !(line.starts_with('#') && line.contains(title)));
    lines
        .skip(1)
        .skip_while(|line| !line.starts_with('|') && !line.starts_with('#'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The words in backquotes.
pub(crate) fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text =
            "a // b\n/* c /* d */ e */ f \"g \\\" h\" i r#\"j \" k\"# 'l' '\\'' &'m n b\"o\"";
        let code = blank_out(text);
        let words: Vec<&str> =
            code.split(|c: char| !is_word(c)).filter(|w| !w.is_empty()).collect();
        assert_eq!(words, ["a", "f", "i", "m", "n", "b"]);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches('\n').count(), 1);
    }

    #[test]
    fn paths_are_read_from_uses_and_expressions() {
        let code = "use crate::a::{b, c::{self, d}, E as F};\nfn f() { $crate::no(); crate::g() }";
        let paths: Vec<_> =
            crate_paths(code).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
        let expected = [(1, "a::b"), (1, "a::c::self"), (1, "a::c::d"), (1, "a::E"), (2, "g")];
        assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
        let braces = crate_paths("use crate::{\n    x::Y,\n    z,\n};");
        assert_eq!(braces, [(1, vec!["x".into(), "Y".into()]), (1, vec!["z".into()])]);
    }

    #[test]
    fn models_are_told_from_code() {
        let code = concat!(
            "use loom;\n#[cfg(all(test, loom))]\nmod models {\n  use loom;\n}\n",
            "#[cfg(not(loom))]\nmod x {\n  use loom;\n}"
        );
        let naming = |(number, line, model): (usize, &str, bool)| {
            (has_word(line, "loom") && !model).then_some(number)
        };
        let found: Vec<usize> = lines_and_models(code).into_iter().filter_map(naming).collect();
        assert_eq!(found, [1, 6, 8]);
    }
}

/// How many lines above an unsafe block its reason may stand.
const REASON_WITHIN: usize = 12;

/// Clippy's `undocumented_unsafe_blocks` sees what the compiler does not skip; this sees all
/// platforms.
pub(crate) fn unexplained(text: &str) -> Vec<usize> {
    let code = blank_out(text);
    let original: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let opens = line.match_indices("unsafe").any(|(at, word)| {
            let after = line[at + word.len()..].trim_start();
            !line[..at].ends_with(is_word) && (after.starts_with('{') || after.starts_with("impl"))
        });
        let above = &original[index.saturating_sub(REASON_WITHIN)..=index];
        if opens && !above.iter().any(|line| line.contains("// SAFETY:")) {
            findings.push(index + 1);
        }
    }
    findings
}

/// The columns of `line` at which an absolute path of some machine begins.
pub(crate) fn absolute_paths(line: &str) -> Vec<usize> {
    let folders = ["work", "tmp", "root", "home", "Users"];
    let roots = folders.map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for root in roots {
        for (at, _) in line.match_indices(&root) {
            let before = line[..at].chars().next_back();
            if !before.is_some_and(|c| is_word(c) || matches!(c, '.' | '}' | '/' | '-' | ':')) {
                found.push(at);
            }
        }
    }
    found
}
