//! Token verification against honest, mistaken and hostile tokens.

mod checks;

checks::every_check!(test);
