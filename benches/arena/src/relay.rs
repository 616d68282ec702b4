//! The least that a proxy can do with plain reads and writes: one thread that copies bytes between
//! two sockets. It knows nothing of HTTP, keeps no upstream connection, and lets a slow client stop
//! everyone: it shows the floor.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Relays until killed.
pub fn serve(port: u16, upstream: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("epoll");
    let watch = |socket: &dyn AsFd, number: u64| {
        epoll
            .add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))
            .expect("a watch");
    };
    watch(&listener, 0);
    // A socket, and the number of the one that it is tied to.
    let mut sockets: Vec<Option<(TcpStream, usize)>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut events = vec![EpollEvent::empty(); 512];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
        for event in &events[..count] {
            let number = event.data() as usize;
            if number == 0 {
                let Ok((client, _)) = listener.accept() else {
                    continue;
                };
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else {
                    continue;
                };
                let ends = [client.as_raw_fd() as usize, server.as_raw_fd() as usize];
                if sockets.len() <= ends[0].max(ends[1]) {
                    sockets.resize_with(ends[0].max(ends[1]) + 1, || None);
                }
                for (socket, other) in [(client, ends[1]), (server, ends[0])] {
                    socket.set_nodelay(true).expect("nodelay");
                    watch(&socket, socket.as_raw_fd() as u64);
                    let at = socket.as_raw_fd() as usize;
                    sockets[at] = Some((socket, other));
                }
                continue;
            }
            let Some((socket, other)) = sockets[number].as_mut() else {
                continue;
            };
            let (read, other) = (socket.read(&mut buffer).unwrap_or(0), *other);
            let written = read > 0
                && sockets[other]
                    .as_mut()
                    .is_some_and(|(socket, _)| socket.write_all(&buffer[..read]).is_ok());
            if !written {
                sockets[number] = None;
                sockets[other] = None;
            }
        }
    }
}
