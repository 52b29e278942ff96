//! The matrix of hostile inputs: what no command may do with them.
//!
//! `data/*.tsv` says which inputs (made by [`makers`]), which commands and options, which exit code and which words; [`matrix`]
//! multiplies families into rows; [`run`] executes every row in a process of its own and [`check`] judges it: exit code, one
//! line of at most 300 printable characters that names what is wrong, no panic, no NaN among the numbers of a success, less
//! than 20 s, every input untouched.

pub mod check;
pub mod makers;
pub mod matrix;
pub mod run;
