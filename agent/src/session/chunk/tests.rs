use super::*;

/// Takes a chunk apart as a reader would.
fn read(chunk: &[u8], assembler: &mut Assembler) -> Option<Vec<u8>> {
    let (header, bytes) = chunk.split_first_chunk::<HEADER>().unwrap();
    let header = Header::read(*header).unwrap();
    assert_eq!(header.length, bytes.len());
    assembler.push(header, bytes).unwrap()
}

#[track_caller]
fn check(size: usize, chunks: usize) {
    let frame: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    let mut cutter = Cutter::default();
    let mut assembler = Assembler::default();
    cutter.begin(Lane::Bulk, frame.clone()).unwrap();
    let mut count = 0;
    let mut got = None;
    while let Some(chunk) = cutter.cut() {
        count += 1;
        got = read(&chunk, &mut assembler);
    }
    assert_eq!((got, count), (Some(frame), chunks));
}

#[test]
fn a_frame_of_any_size_comes_together_again() {
    check(0, 1);
    check(1, 1);
    check(CHUNK, 1);
    check(CHUNK + 1, 2);
    check(5 * CHUNK, 5);
}

#[test]
fn what_is_urgent_waits_for_one_chunk_at_most() {
    let mut cutter = Cutter::default();
    let mut assembler = Assembler::default();
    cutter.begin(Lane::Bulk, vec![7; 3 * CHUNK]).unwrap();
    assert_eq!(read(&cutter.cut().unwrap(), &mut assembler), None);
    assert!(!cutter.is_free(Lane::Bulk) && cutter.is_free(Lane::Urgent));
    cutter.begin(Lane::Urgent, b"beat".to_vec()).unwrap();
    let beat = read(&cutter.cut().unwrap(), &mut assembler);
    assert_eq!(beat, Some(b"beat".to_vec()));
    assert_eq!(read(&cutter.cut().unwrap(), &mut assembler), None);
    let bulk = read(&cutter.cut().unwrap(), &mut assembler);
    assert_eq!(bulk, Some(vec![7; 3 * CHUNK]));
    assert_eq!(cutter.cut(), None);
    assert!(cutter.is_free(Lane::Bulk));
}

#[test]
fn what_nobody_may_send_is_refused() {
    let mut cutter = Cutter::default();
    let large = vec![0; LARGEST + 1];
    assert_eq!(cutter.begin(Lane::Bulk, large), Err(ChunkError::TooLarge));
    let length = CHUNK + 1;
    let header = [0, 0, 0x40, 1, 0];
    assert_eq!(Header::read(header), Err(ChunkError::Length { length }));
    let header = [0, 0, 0, 1, 9];
    assert_eq!(Header::read(header), Err(ChunkError::Kind { flags: 9 }));

    let endless = Header::read([0, 0, 0x40, 0, BULK]).unwrap();
    let mut assembler = Assembler::default();
    let mut pushed = 0;
    while assembler.push(endless, &[0; CHUNK]).is_ok() {
        pushed += CHUNK;
        assert!(pushed <= LARGEST);
    }
    assert_eq!(pushed, LARGEST);
}
