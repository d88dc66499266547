//! The task that writes frames to a socket without TLS, past the HTTP layer.

use std::{future::poll_fn, io, sync::Arc};

use actix_http::ws::CloseCode;
use bytes::BytesMut;

use crate::{
    outbox::{End, OutboxReader, ReadStep, Sink},
    transport::{framing::close_frame, socket::PlainSocket},
};

/// A write buffer with a larger capacity is freed after use, so that one large message does not occupy memory forever.
const MAX_KEPT_BUFFER: usize = 4 * 1024;

/// Writes frames until the channel ends or the socket fails, and returns the reader.
pub(super) async fn write_until_end(mut reader: OutboxReader, socket: PlainSocket) -> OutboxReader {
    reader.enable_direct_write(Arc::new(socket.clone()));
    let mut out = BytesMut::new();
    loop {
        let step = poll_fn(|cx| reader.poll(cx, &mut out)).await;
        match step {
            ReadStep::End(End::ABNORMAL) => {
                socket.shut_down_write();
                return reader;
            }
            ReadStep::End(End { code }) => close_frame(code, &mut out),
            ReadStep::Write => {}
        }
        if write_all(&reader, &socket, &out).await.is_err() {
            // The reading half may be waiting for the connection, and then does not notice the failure.
            reader.control().close(End { code: CloseCode::Normal.into() });
            return reader;
        }
        if step != ReadStep::Write {
            return reader;
        }
        out.clear();
        if out.capacity() > MAX_KEPT_BUFFER {
            out = BytesMut::new();
        }
    }
}

async fn write_all(reader: &OutboxReader, socket: &PlainSocket, mut bytes: &[u8]) -> io::Result<()> {
    let mut has_taken = false;
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => (bytes, has_taken) = (&bytes[written..], true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reader.record_write(std::mem::take(&mut has_taken), true);
                socket.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    reader.record_write(has_taken, false);
    Ok(())
}
