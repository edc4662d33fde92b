//! What operators write in a policy, and what requests get for it: a long table over one `check`, through the whole engine
//! with real credentials; and random policies against a model that was written without looking at the code.

mod cast;
mod model;
mod paths;
mod permits;
mod table;

use cast::Cast;

/// One line: method, host and path, who asks, what comes of it.
#[track_caller]
fn check(policy: &str, lines: &str) -> usize {
    let mut cast = Cast::new(policy);
    let mut number = 0;
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, target, who, expected] = words[..] else { panic!("four words: {line}") };
        assert_eq!(cast.ask(method, target, who), expected, "{line}");
        number += 1;
    }
    number
}
