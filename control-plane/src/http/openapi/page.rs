//! The description of the API as a page to read: one file without scripts, which asks nobody for anything. It must not know
//! more than the description says.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}
h2{border-bottom:1px solid var(--line);margin-top:2.5rem}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:0 .8rem}
summary{cursor:pointer;padding:.5rem 0}
summary b{display:inline-block;min-width:4.5rem;font-family:ui-monospace,monospace}
table{border-collapse:collapse;width:100%;margin:.3rem 0 1rem}
td,th{border-top:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
.open{background:var(--soft);border-radius:4px;padding:0 .4rem;font-size:.85em}
p.reasons{margin:.2rem 0}
";

/// The page.
pub(super) fn render(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width\"><title>Tollgate: API</title><style>");
    page.push_str(STYLE);
    page.push_str("</style></head><body><h1>Tollgate: API</h1>");
    let info = &document["info"];
    add(&mut page, format_args!("<p>{} Version {}. ", escaped(&info["description"]), escaped(&info["version"])));
    page.push_str("For programs: <a href=\"/openapi.json\">/openapi.json</a> (OpenAPI 3.1).</p>");
    page.push_str("<h2>Credentials</h2><table>");
    for (_, scheme) in members(&document["components"]["securitySchemes"]) {
        let header = scheme["name"].as_str().unwrap_or("Authorization: Bearer");
        let meaning = inline_code(&escaped(&scheme["description"]));
        add(&mut page, format_args!("<tr><td><code>{}</code></td><td>{meaning}</td></tr>", escape(header)));
    }
    page.push_str("</table>");
    for (tag, operations) in by_tag(&document) {
        add(&mut page, format_args!("<h2>{}</h2>", escape(tag)));
        for (method, path, operation) in operations {
            show(&mut page, &document, method, path, operation);
        }
    }
    page.push_str("</body></html>");
    page
}

fn by_tag(document: &Value) -> std::collections::BTreeMap<&str, Vec<(&str, &str, &Value)>> {
    let mut tags = std::collections::BTreeMap::<_, Vec<_>>::new();
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item) {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            tags.entry(tag).or_default().push((method, path, operation));
        }
    }
    tags
}

fn show(page: &mut String, document: &Value, method: &str, path: &str, operation: &Value) {
    let (verb, summary) = (method.to_ascii_uppercase(), escaped(&operation["summary"]));
    let open = match operation["security"].as_array().is_some_and(Vec::is_empty) {
        true => " <span class=\"open\">no credential</span>",
        false => "",
    };
    add(
        page,
        format_args!("<details><summary><b>{verb}</b> <code>{}</code>{open}<br>{summary}</summary>", escape(path)),
    );
    let parameters = operation["parameters"].as_array();
    for place in ["path", "query", "header"] {
        let here = |parameter: &&Value| parameter["in"] == place;
        let mut rows = parameters.into_iter().flatten().filter(here).peekable();
        if rows.peek().is_some() {
            add(page, format_args!("<h4>In the {place}</h4><table>"));
            for parameter in rows {
                let name = parameter["name"].as_str().unwrap_or_default();
                row(
                    page,
                    document,
                    name,
                    &parameter["schema"],
                    parameter["required"] == true,
                    &parameter["description"],
                );
            }
            page.push_str("</table>");
        }
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        page.push_str("<h4>Body</h4>");
        object(page, document, body);
    }
    for (status, response) in members(&operation["responses"]) {
        let reasons = response["description"].as_str().unwrap_or_default();
        add(page, format_args!("<h4>{}</h4>", escape(status)));
        for reason in reasons.split("\n\n") {
            add(page, format_args!("<p class=\"reasons\">{}</p>", inline_code(&escape(reason))));
        }
        let schema = &response["content"]["application/json"]["schema"];
        if !schema.is_null() {
            object(page, document, schema);
        }
    }
    page.push_str("</details>");
}

/// A table of an object's members; those of the parts that it is put together from, too.
fn object(page: &mut String, document: &Value, schema: &Value) {
    let schema = resolved(document, schema);
    page.push_str("<table>");
    let parts = schema["allOf"].as_array();
    for part in parts.map_or(std::slice::from_ref(schema), Vec::as_slice) {
        let part = resolved(document, part);
        let required = part["required"].as_array();
        for (name, member) in members(&part["properties"]) {
            let needed = required.is_some_and(|required| required.iter().any(|one| one == name));
            row(page, document, name, member, needed, &member["description"]);
        }
    }
    page.push_str("</table>");
}

fn row(page: &mut String, document: &Value, name: &str, schema: &Value, needed: bool, meaning: &Value) {
    let mark = if needed { "" } else { "?" };
    let (name, kind, meaning) = (escape(name), escape(&kind(document, schema)), inline_code(&escaped(meaning)));
    add(page, format_args!("<tr><td><code>{name}{mark}</code></td><td>{kind}</td><td>{meaning}</td></tr>"));
}

/// What a value is, in a few words.
fn kind(document: &Value, schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | ");
    }
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or_default();
        let inner = members(&resolved(document, schema)["properties"]).map(|(name, _)| name).collect::<Vec<_>>();
        return format!("{name} {{{}}}", inner.join(", "));
    }
    let kinds = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    };
    match (kinds.as_str(), schema["format"].as_str()) {
        ("array", _) => format!("array of {}", kind(document, &schema["items"])),
        (_, Some(format)) => format!("{kinds} ({format})"),
        _ => match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
            (Some(least), Some(most)) => format!("{kinds} from {least} to {most}"),
            _ => kinds,
        },
    }
}

fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let pointer = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn add(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = page.write_fmt(text);
}

fn escaped(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// `code` between backquotes.
fn inline_code(text: &str) -> String {
    let mut parts = text.split('`');
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        shown.push_str(if number % 2 == 0 { "<code>" } else { "</code>" });
        shown.push_str(part);
    }
    shown
}
