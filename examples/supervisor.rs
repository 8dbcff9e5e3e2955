//! A supervisor that runs a shaky worker again, later each time, and gives up in the end.
//!
//! ```sh
//! cargo run --release --example supervisor
//! ```

use pirn::channel::{Receiver, unbounded};
use pirn::task::Supervisor;
use std::time::Duration;

/// Works on jobs. The odd one is too much for it.
fn work(jobs: &Receiver<u32>) -> Result<u32, String> {
    let mut done = 0;
    for job in jobs {
        match job % 5 {
            3 => return Err(format!("job {job} is broken")),
            4 => std::panic::resume_unwind(Box::new(format!("job {job} is a disaster"))),
            _ => done += 1,
        }
    }
    Ok(done)
}

#[pirn::main]
pub(crate) fn main() {
    let millis = Duration::from_millis;
    let (jobs, queue) = unbounded();
    (0..10).for_each(|job| jobs.send(job).expect("the queue is there"));
    drop(jobs);
    let worker = Supervisor::new()
        .back_off(millis(1)..millis(100))
        .on_restart(|fault, pause| println!("{fault}: again in {pause:?}"))
        .spawn(move || work(&queue))
        .expect("a coroutine");
    match worker.join().expect("it does not panic") {
        Ok(done) => println!("the last run did {done} jobs"),
        Err(gave_up) => println!("{gave_up}"),
    }

    let hopeless = Supervisor::new()
        .restarts(3, Duration::from_secs(60))
        .back_off(millis(1)..millis(100))
        .run(|| Err::<(), _>("no disk"));
    println!("{}", hopeless.expect_err("there is no disk"));
}
