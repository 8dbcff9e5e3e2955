//! Spans that follow their coroutines: requests that overlap on one thread, each with its own span.
//!
//! ```sh
//! cargo run -p pirn-interop --features tracing --example tracing
//! ```

use std::time::Duration;
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt;

fn main() -> std::io::Result<()> {
    let layers = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer());
    let follow = pirn::tracing::Follow::new(layers);
    tracing::subscriber::set_global_default(follow).expect("nobody has set one before");
    let runtime = pirn::Builder::new().workers(1).build()?;
    runtime.run(|| {
        pirn::thread::scope(|scope| {
            for id in 1..=3 {
                let work = move || serve(id);
                pirn::thread::Builder::new()
                    .name(format!("request {id}"))
                    .spawn_scoped(scope, work)
                    .expect("there is room for three");
            }
        });
    });
    Ok(())
}

fn serve(id: u64) {
    let _request = info_span!("request", id).entered();
    info!("begins");
    // The others run on this thread meanwhile, outside of this span.
    pirn::thread::sleep(Duration::from_millis(10 * (4 - id)));
    let _reply = info_span!("reply").entered();
    info!("ends");
}

#[test]
fn it_runs() {
    main().unwrap();
}
