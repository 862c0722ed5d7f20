//! A mail server that takes everything and counts by send.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone)]
pub struct MailSink {
    port: u16,
    mails: Arc<Mutex<BTreeMap<String, Mail>>>,
    /// How long it takes to answer a message.
    answers_after: Duration,
}

/// What came of one send.
#[derive(Clone, Default)]
pub struct Mail {
    /// Whole messages, those ended by a dot alone.
    pub times: u32,
    pub to: String,
    /// The signed link in it, path and all.
    pub link: Option<String>,
}

impl MailSink {
    pub fn start(answers_after: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = MailSink { port, mails: Arc::default(), answers_after };
        let shared = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = shared.clone();
                std::thread::spawn(move || sink.converse(stream));
            }
        });
        sink
    }

    /// The section of the configuration that leads here.
    pub fn config(&self, connections_max: usize) -> String {
        format!(
            "[channels.email]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Shop <shop@example.org>\"\n\
             connections_max = {connections_max}\n",
            self.port
        )
    }

    pub fn mails(&self) -> BTreeMap<String, Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// None when the other side went away; what it had not finished is no mail.
    fn converse(&self, stream: TcpStream) -> Option<()> {
        let mut out = stream.try_clone().ok()?;
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let mut to = String::new();
        out.write_all(b"220 sink\r\n").ok()?;
        while let Some(line) = lines.next() {
            match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                "RCPT" => to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned(),
                "DATA" => {
                    out.write_all(b"354 go on\r\n").ok()?;
                    let mut message = Vec::new();
                    loop {
                        // A message that is broken off has no dot, and does not count.
                        let line = lines.next()?;
                        if line == "." {
                            break;
                        }
                        message.push(line);
                    }
                    std::thread::sleep(self.answers_after);
                    self.count(&to, &message);
                }
                "QUIT" => {
                    out.write_all(b"221 bye\r\n").ok()?;
                    return Some(());
                }
                _ => {}
            }
            out.write_all(b"250 ok\r\n").ok()?;
        }
        Some(())
    }

    fn count(&self, to: &str, message: &[String]) {
        let id = message.iter().find_map(|line| line.strip_prefix("X-Sojourn-Send: ")).unwrap_or("(no send)");
        // Quoted-printable: a `=` at the end of a line joins it with the next, `=3D` is a `=`.
        let text = message.join("\n").replace("=\n", "").replace("=3D", "=");
        let link = text.split("href=\"http://").nth(1).and_then(|rest| rest.split('"').next());
        let path = link.and_then(|link| link.split_once('/')).map(|(_, path)| format!("/{path}"));
        let mut mails = self.mails.lock().unwrap();
        let mail = mails.entry(id.to_owned()).or_default();
        mail.times += 1;
        mail.to = to.to_owned();
        mail.link = path;
    }
}

#[test]
fn a_message_that_is_broken_off_is_no_mail() {
    let sink = MailSink::start(Duration::ZERO);
    let mut broken = TcpStream::connect(("127.0.0.1", sink.port)).unwrap();
    broken.write_all(b"EHLO x\r\nRCPT TO:<a@x.org>\r\nDATA\r\nX-Sojourn-Send: one\r\n\r\nhal").unwrap();
    broken.shutdown(std::net::Shutdown::Both).unwrap();
    let whole = TcpStream::connect(("127.0.0.1", sink.port)).unwrap();
    let said = b"EHLO x\r\nRCPT TO:<b@x.org>\r\nDATA\r\nX-Sojourn-Send: two\r\n\r\n\
                 <a href=3D\"http://h:1/t/c/ab=\r\ncd\">\r\n.\r\nQUIT\r\n";
    (&whole).write_all(said).unwrap();
    let answers: Vec<String> = BufReader::new(whole).lines().map_while(Result::ok).collect();
    assert_eq!(answers.last().map(String::as_str), Some("221 bye"));
    let mails = sink.mails();
    assert_eq!(mails.keys().map(String::as_str).collect::<Vec<_>>(), ["two"]);
    let Mail { times, to, link } = &mails["two"];
    assert_eq!((*times, to.as_str(), link.as_deref()), (1, "b@x.org", Some("/t/c/abcd")));
}
