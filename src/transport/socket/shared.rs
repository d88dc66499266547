//! A TCP stream with one descriptor for the HTTP layer, the transport and the handles.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::Shutdown,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll, ready},
};

use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::set_options;
use crate::{outbox::Sink, transport::socket_limit::SocketPlace};

/// The maximum of bytes that one system call reads.
const READ_SIZE: usize = 16 * 1024;

/// A TCP stream whose clones share one descriptor.
#[derive(Clone, Debug)]
pub(crate) struct SharedTcp(Arc<Shared>);

/// A reference that does not keep the descriptor open.
#[derive(Clone, Debug)]
pub(in crate::transport) struct WeakTcp(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    /// Cancelled when the peer has closed its side, and when the descriptor is closed. Created on first use, because
    /// nothing waits for the end of most sockets.
    closed: OnceLock<CancellationToken>,
    /// Taken as long as the descriptor is open.
    _place: Option<SocketPlace>,
}

impl SharedTcp {
    /// Sets the options of an accepted socket and makes it shareable.
    pub(crate) fn new(stream: TcpStream, place: Option<SocketPlace>) -> Self {
        set_options(&stream);
        Self(Arc::new(Shared { stream, closed: OnceLock::new(), _place: place }))
    }

    /// The stream.
    pub(crate) fn get_ref(&self) -> &TcpStream {
        &self.0.stream
    }

    /// A reference for a handle.
    pub(in crate::transport) fn downgrade(&self) -> WeakTcp {
        WeakTcp(Arc::downgrade(&self.0))
    }

    /// The same socket for direct writes.
    pub(in crate::transport) fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.0) as Arc<dyn Sink>
    }

    /// Records that the peer has closed its side.
    pub(in crate::transport) fn mark_closed(&self) {
        self.0.closed().cancel();
    }
}

impl WeakTcp {
    /// Waits until the peer has closed its side, or the descriptor is closed.
    pub(in crate::transport) async fn closed(&self) {
        if let Some(closed) = self.0.upgrade().map(|socket| socket.closed().clone()) {
            closed.cancelled().await;
        }
    }

    /// Shuts the socket down in both directions.
    pub(in crate::transport) fn shut_down(&self) {
        if let Some(socket) = self.0.upgrade() {
            // An error means that the socket is closed already.
            let _ = SockRef::from(&socket.stream).shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn closed(&self) -> &CancellationToken {
        self.closed.get_or_init(CancellationToken::new)
    }

    /// Reads once. A read that does not fill the buffer has emptied the socket; reporting that it would block makes the
    /// runtime wait for the next event, and saves the system call that would find out.
    fn try_read(&self, buffer: &mut ReadBuf<'_>) -> io::Result<Option<usize>> {
        let mut storage = [MaybeUninit::uninit(); READ_SIZE];
        let length = buffer.remaining().min(READ_SIZE);
        let mut read = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let (bytes, _) = rustix::io::read(&self.stream, &mut storage[..length])?;
            buffer.put_slice(bytes);
            read = Some(bytes.len());
            if (1..length).contains(&bytes.len()) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(read),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(closed) = self.closed.get() {
            closed.cancel();
        }
    }
}

impl Sink for Shared {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.try_write(bytes)
    }
}

impl AsyncRead for SharedTcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            if self.0.try_read(buffer)?.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl SharedTcp {
    fn poll_try_write(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.stream.poll_write_ready(cx))?;
            match write(&self.0.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

impl AsyncWrite for SharedTcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_try_write(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_try_write(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(Shutdown::Write))
    }
}
