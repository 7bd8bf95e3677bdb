use cm_types::PeerId;

use super::*;

fn door(at: u8) -> NetworkDoor {
    NetworkDoor {
        id: format!("{at:016x}").parse::<PeerId>().unwrap(),
        key: hex::encode([at; 32]),
        address: format!("host-{at}.example:7070"),
    }
}

#[test]
fn an_invitation_comes_back_from_its_text() {
    let invitation = Invitation {
        id: "0a".to_owned(),
        secret: Secret::new("0b0c".to_owned()),
        doors: vec![door(1), door(2)],
    };
    let text = invitation.to_text();
    let back = Invitation::parse(&format!(" {}\n", text.expose())).unwrap();
    assert_eq!((back.id.as_str(), back.secret.expose().as_str()), ("0a", "0b0c"));
    assert_eq!(back.doors, invitation.doors);
    for at in 0..text.expose().len() {
        // Whatever is cut off, nothing breaks; an address may become shorter.
        let _ = Invitation::parse(&text.expose()[..at]);
    }
    for bad in ["", "cmjoin1", "cmjoin1.a.b", "cmjoin1.a.b.c", "cmjoin2.0a.0b.1@2@h:1", "cmjoin1.0a..1@2@h:1"]
    {
        assert_eq!(Invitation::parse(bad).err(), Some(InvalidInvitation), "{bad}");
    }
}

#[test]
fn refusals_are_counted_and_recorded_once_a_minute() {
    let (refused, now) = (RefusedNodes::default(), Instant::now());
    assert_eq!(refused.count(now), Some(1));
    assert_eq!((refused.count(now), refused.count(now)), (None, None));
    assert_eq!(refused.count(now + REFUSED_INTERVAL), Some(3));
    assert_eq!(refused.count(now + REFUSED_INTERVAL), None);
}
