//! The stand-in Vieter server as a program, for `make demo`: `standin LISTEN DIRECTORY`, the key in `VIETER_API_KEY`.

// Tests may panic: that is how they fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod server;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, listen, dir] = args.as_slice() else {
        eprintln!("usage: standin LISTEN DIRECTORY");
        std::process::exit(2);
    };
    let key = std::env::var("VIETER_API_KEY").expect("VIETER_API_KEY is not set");
    let server = server::Standin::start(listen, Path::new(dir), &key)?;
    println!("http://{}", server.address);
    loop {
        std::thread::park();
    }
}
