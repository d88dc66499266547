// error: a hub method must return `Result<_, HubError>`, but this one returns `String`
// error: a hub method must return `Result<_, HubError>`, but this one returns `Result<String, std::io::Error>`
// return `Ok(value)` or `Err(HubError::new(text))`; `?` converts every other error to a `HubError`

use std::io;

use hubcast::Hub;

async fn hello() -> String {
    "hello".to_owned()
}

async fn read() -> Result<String, io::Error> {
    Ok("hello".to_owned())
}

pub fn hub() -> Hub {
    Hub::new("greeter").method("Hello", hello).method("Read", read)
}
