//! Fills in Envoy's configuration: sets the values that are marked `# dev: NAME` in a complete, loadable file. It must
//! not know what any value means.

use serde_json::Value;

use super::fault::DevFault;

const MARK: &str = " # dev: ";

/// Sets every marked value. Each line with a mark holds `key: scalar # dev: NAME`.
///
/// # Errors
/// [`DevFault::Template`] if a mark has no value, or a value no mark: then the file and the program are of different
/// versions.
pub(super) fn render(text: &str, values: &[(&str, Value)]) -> Result<String, DevFault> {
    let mut used = vec![false; values.len()];
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        match line.split_once(MARK).filter(|(head, _)| !head.trim_start().starts_with('#')) {
            None => out.push_str(line),
            Some((head, rest)) => {
                let name = rest.split_whitespace().next().unwrap_or_default();
                let at = values.iter().position(|(known, _)| *known == name);
                let (Some(at), Some((key, _))) = (at, head.split_once(": ")) else {
                    return Err(DevFault::Template(format!("line {} marks '{name}', which has no value", number + 1)));
                };
                if let (Some((_, value)), Some(used)) = (values.get(at), used.get_mut(at)) {
                    // A JSON scalar is a YAML scalar too, quotes and escapes included.
                    out.push_str(&format!("{key}: {value}"));
                    *used = true;
                }
            }
        }
        out.push('\n');
    }
    match values.iter().zip(&used).find(|(_, used)| !**used) {
        Some(((name, _), _)) => Err(DevFault::Template(format!("no line is marked '{name}'"))),
        None => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_values_are_set_and_nothing_else() {
        let text = "# as in `# dev: NAME`\na:\n  port: 1 # dev: port\n  path: x # dev: path more words\n  b: 2\n";
        let values = [("path", Value::from("/a \"b\"")), ("port", Value::from(10))];
        assert_eq!(
            render(text, &values).unwrap(),
            "# as in `# dev: NAME`\na:\n  port: 10\n  path: \"/a \\\"b\\\"\"\n  b: 2\n"
        );
    }

    #[test]
    fn a_mark_without_value_and_a_value_without_mark_are_faults() {
        assert!(render("a: 1 # dev: port\n", &[]).unwrap_err().to_string().contains("'port'"));
        assert!(render("a: 1\n", &[("port", Value::from(1))]).unwrap_err().to_string().contains("'port'"));
    }
}
