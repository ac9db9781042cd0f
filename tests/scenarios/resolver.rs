//! A name server that answers every question with one address.

use crate::support::Host;

/// Serves on the host's loopback until the test program ends.
pub(crate) fn answer_everything_with(host: &Host, address: [u8; 4]) {
    answer_on(host, "127.0.0.1:53", address);
}

/// The same, on another address of the host.
pub(crate) fn answer_on(host: &Host, server: &str, address: [u8; 4]) {
    let socket = host.udp_socket(server);
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(&answer(&question[..length], address), asker);
        }
    });
}

/// RFC 1035: the question comes back, followed by one A record that points at its name.
fn answer(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let end = 12
        + question[12..]
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(0)
        + 5;
    let mut answer = question[..end].to_vec();
    answer[2] = 0x81;
    answer[3] = 0x80;
    answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(address);
    answer
}
