//! The writing half of a WebSocket: writes the frames of an outbox to a socket.

use std::{future::poll_fn, io, pin::Pin, task::Poll};

use actix_http::ws::CloseCode;
use bytes::BytesMut;
use tokio::io::AsyncWrite;

use crate::{
    outbox::{End, OutboxReader, ReadStep},
    transport::framing::close_frame,
};

/// The end of a writing half.
pub(super) struct WriteEnd {
    /// Dropping it notifies the connection that the transport has ended.
    pub(super) reader: OutboxReader,
    /// A close frame was written, so the peer answers it.
    pub(super) has_close_frame: bool,
}

/// Writes frames until the channel ends or the socket fails.
pub(super) async fn write_until_end(mut reader: OutboxReader, mut socket: impl AsyncWrite + Unpin) -> WriteEnd {
    loop {
        // A new buffer for each write, so that an idle WebSocket keeps none.
        let mut out = BytesMut::new();
        let step = poll_fn(|cx| reader.poll(cx, &mut out)).await;
        match step {
            ReadStep::End(End::Abort) => return WriteEnd { reader, has_close_frame: false },
            ReadStep::End(End::Close(code)) => close_frame(code, &mut out),
            ReadStep::Write => {}
        }
        if write_all(&reader, &mut socket, &out).await.is_err() {
            // The reading half may be waiting for the connection, and then does not notice the failure.
            reader.control().lose(End::Close(CloseCode::Normal.into()));
            return WriteEnd { reader, has_close_frame: false };
        }
        if step != ReadStep::Write {
            return WriteEnd { reader, has_close_frame: true };
        }
    }
}

async fn write_all(reader: &OutboxReader, socket: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    let mut has_taken = false;
    while !bytes.is_empty() {
        let written =
            poll_fn(|cx| record_if_full(reader, &mut has_taken, Pin::new(&mut *socket).poll_write(cx, bytes)));
        match written.await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => (bytes, has_taken) = (&bytes[written..], true),
        }
    }
    // TLS records may be waiting for the socket.
    poll_fn(|cx| record_if_full(reader, &mut has_taken, Pin::new(&mut *socket).poll_flush(cx))).await?;
    reader.record_write(has_taken, false);
    Ok(())
}

fn record_if_full<T>(reader: &OutboxReader, has_taken: &mut bool, polled: Poll<T>) -> Poll<T> {
    if polled.is_pending() {
        reader.record_write(std::mem::take(has_taken), true);
    }
    polled
}
