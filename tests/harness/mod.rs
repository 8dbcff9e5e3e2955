//! Which tests a program that has its own harness is asked for.

/// The tests whose names contain the argument, if there is one, and nothing that follows a `--skip`,
/// as the usual harness has it.
pub(crate) struct Chosen {
    pub(crate) filter: Option<String>,
    skipped: Vec<String>,
}

impl Chosen {
    pub(crate) fn by_arguments() -> Chosen {
        let mut chosen = Chosen { filter: None, skipped: Vec::new() };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--skip" => chosen.skipped.extend(arguments.next()),
                "--test-threads" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => chosen.filter = chosen.filter.or(Some(argument)),
            }
        }
        chosen
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|part| name.contains(part.as_str()))
            && !self.skipped.iter().any(|part| name.contains(part.as_str()))
    }
}
