//! Processor time, which tells more than the clock does while others use the machine too.

#![expect(unsafe_code, reason = "std has no clock for processor time, and not its unit")]

use std::fs;
use std::io;

/// What all threads of this process have used, in nanoseconds.
pub(crate) fn nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place for the time is alive.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the clock exists");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a process and its children have used so far, in seconds of user and system time.
pub(crate) fn seconds_of(process: u32) -> io::Result<f64> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    children
        .map(seconds_of_one)
        .sum::<io::Result<f64>>()
        .and_then(|sum| Ok(sum + seconds_of_one(process)?))
}

fn seconds_of_one(process: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    // SAFETY: no pointers.
    Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
}

/// Times that its threads were run, and the seconds that they ran.
pub(crate) fn runs_of(process: u32) -> io::Result<(u64, f64)> {
    let mut sum = (0, 0.0);
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // Time on a processor, time in the queue for one, and how often.
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let figures: Vec<u64> =
            text.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let &[nanos, _, times] = figures.as_slice() else {
            return Err(io::Error::other("the kernel does not count"));
        };
        sum = (sum.0 + times, sum.1 + nanos as f64 / 1e9);
    }
    Ok(sum)
}
