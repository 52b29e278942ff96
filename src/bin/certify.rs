//! `certify`: see `certify --help`.
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("certify", Err(proxflow::command::Failure::Run("not written yet".into())))
}
