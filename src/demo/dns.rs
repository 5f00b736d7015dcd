//! A small DNS server on loopback that knows what it was told, and nothing else.
//!
//! It is authoritative for every name: what it was not given does not exist. Records and manners (SERVFAIL, silence …)
//! can change at any time, and it counts who was asked about. It is not a name server for real use: no zones, no
//! transfers, no DNSSEC. It lives on a thread of its own until it is dropped.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use hickory_resolver::proto::{
    ProtoError,
    op::{Edns, Message, MessageType, Metadata, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::oneshot,
};

/// The TTL of every answer, in seconds; of negative ones too.
const TTL_S: u32 = 300;
/// The largest datagram read. A question is far smaller; EDNS options may stand in it.
const QUESTION_OCTETS_MAX: usize = 4_096;
/// Octets of one string of a TXT record (RFC 1035 §3.3).
const TXT_STRING_OCTETS_MAX: usize = 255;
/// A TCP client that asks nothing for this long is dropped.
const TCP_IDLE_TIME: Duration = Duration::from_secs(30);
/// Tries to find a port that is free for UDP and TCP both.
const PORT_TRIES: usize = 50;

/// How questions about a name are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// With its records, NODATA or NXDOMAIN, as they are.
    #[default]
    Records,
    /// With SERVFAIL.
    ServFail,
    /// With REFUSED.
    Refused,
    /// Not at all.
    Silent,
}

#[derive(Clone, Debug)]
enum Data {
    Txt(Vec<u8>),
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Ptr(String),
    Cname(String),
}

#[derive(Default)]
struct Entry {
    records: Vec<Data>,
    manner: Manner,
}

#[derive(Default)]
struct Zone {
    names: HashMap<String, Entry>,
    asked: HashMap<String, u64>,
}

/// The server. Dropping it ends its thread and frees its port.
pub struct ZoneServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ZoneServer {
    /// Starts a server without records on a free port of 127.0.0.1, UDP and TCP.
    ///
    /// # Errors
    /// What the system says when no port or thread can be had.
    pub fn start() -> io::Result<Self> {
        let (udp, tcp) = free_port()?;
        let address = udp.local_addr()?;
        let zone = Arc::new(Mutex::new(Zone::default()));
        let shared = Arc::clone(&zone);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = mpsc::channel();
        // A thread and a runtime of its own: it must answer whatever the caller's runtime is doing, or without one.
        let thread = std::thread::Builder::new().name("demo-dns".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let _ = match runtime {
                Ok(runtime) => runtime.block_on(serve(udp, tcp, shared, ready, stopped)),
                Err(e) => ready.send(Err(e)).map_err(|_| ()),
            };
        })?;
        started.recv().map_err(io::Error::other)??;
        Ok(Self { address, zone, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: what goes into `[dns] servers` or `$FARTHING_DNS`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a TXT record; long text is cut into strings of 255 octets.
    pub fn txt(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        self.add(name, Data::Txt(text.as_ref().to_vec()))
    }

    /// Adds an address record, A or AAAA.
    pub fn address_of(&self, name: &str, ip: impl Into<IpAddr>) -> &Self {
        self.add(
            name,
            match ip.into() {
                IpAddr::V4(ip) => Data::A(ip),
                IpAddr::V6(ip) => Data::Aaaa(ip),
            },
        )
    }

    /// Adds an MX record.
    pub fn mx(&self, name: &str, preference: u16, exchange: &str) -> &Self {
        self.add(name, Data::Mx(preference, exchange.to_owned()))
    }

    /// Adds a PTR record: the name that an address says it has.
    pub fn ptr(&self, ip: impl Into<IpAddr>, name: &str) -> &Self {
        self.add(&Name::from(ip.into()).to_ascii(), Data::Ptr(name.to_owned()))
    }

    /// Adds a CNAME record.
    pub fn alias(&self, name: &str, target: &str) -> &Self {
        self.add(name, Data::Cname(target.to_owned()))
    }

    /// Sets how questions about this very name are answered from now on.
    pub fn manner(&self, name: &str, manner: Manner) -> &Self {
        self.zone().names.entry(key(name)).or_default().manner = manner;
        self
    }

    /// Forgets the records and the manner of a name.
    pub fn remove(&self, name: &str) -> &Self {
        self.zone().names.remove(&key(name));
        self
    }

    /// Questions about a name that arrived so far, of any type; retransmissions count.
    #[must_use]
    pub fn asked(&self, name: &str) -> u64 {
        self.zone().asked.get(&key(name)).copied().unwrap_or(0)
    }

    /// Questions that arrived so far.
    #[must_use]
    pub fn asked_in_all(&self) -> u64 {
        self.zone().asked.values().sum()
    }

    fn add(&self, name: &str, data: Data) -> &Self {
        self.zone().names.entry(key(name)).or_default().records.push(data);
        self
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn free_port() -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let udp = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => {
                udp.set_nonblocking(true)?;
                tcp.set_nonblocking(true)?;
                return Ok((udp, tcp));
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn serve(
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
    zone: Arc<Mutex<Zone>>,
    ready: mpsc::Sender<io::Result<()>>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), ()> {
    let sockets = UdpSocket::from_std(udp).and_then(|udp| Ok((udp, TcpListener::from_std(tcp)?)));
    let (udp, tcp) = match sockets {
        Ok(sockets) => sockets,
        Err(e) => return ready.send(Err(e)).map_err(|_| ()),
    };
    ready.send(Ok(())).map_err(|_| ())?;
    tokio::select! {
        () = serve_udp(udp, Arc::clone(&zone)) => {}
        () = serve_tcp(tcp, zone) => {}
        _ = stopped => {}
    }
    Ok(())
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; QUESTION_OCTETS_MAX];
    loop {
        // An error here is an earlier answer's: that client has gone, the others have not.
        let Ok((octets, client)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = buffer.get(..octets).and_then(|question| answer(&zone, question, true));
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_client(stream, Arc::clone(&zone)));
    }
}

async fn serve_client(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(Ok(octets)) = tokio::time::timeout(TCP_IDLE_TIME, stream.read_u16()).await {
        let mut question = vec![0; usize::from(octets)];
        if !matches!(tokio::time::timeout(TCP_IDLE_TIME, stream.read_exact(&mut question)).await, Ok(Ok(_))) {
            return;
        }
        let Some(answer) = answer(&zone, &question, false) else { continue };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// The answer to a question as octets; `None` where there is to be silence or the question cannot be read.
fn answer(zone: &Mutex<Zone>, question: &[u8], udp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let mut reply = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    reply.metadata = Metadata::response_from_request(&question.metadata);
    reply.metadata.authoritative = true;
    reply.add_query(query.clone());
    if question.edns.is_some() {
        reply.set_edns(Edns::new());
    }
    {
        let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
        let name = key(&query.name.to_ascii());
        *zone.asked.entry(name.clone()).or_default() += 1;
        match zone.names.get(&name).map(|entry| entry.manner).unwrap_or_default() {
            Manner::Silent => return None,
            Manner::ServFail => reply.metadata.response_code = ResponseCode::ServFail,
            Manner::Refused => reply.metadata.response_code = ResponseCode::Refused,
            Manner::Records => fill(&zone, &name, query.name, query.query_type, &mut reply),
        }
    }
    let octets = reply.to_vec().ok()?;
    if udp && octets.len() > usize::from(question.max_payload()) {
        reply.truncate().to_vec().ok()
    } else {
        Some(octets)
    }
}

fn fill(zone: &Zone, key: &str, name: Name, kind: RecordType, reply: &mut Message) {
    let entry = zone.names.get(key);
    for data in entry.iter().flat_map(|entry| &entry.records) {
        match record(data) {
            Ok(data) if data.record_type() == kind || data.record_type() == RecordType::CNAME => {
                reply.add_answer(Record::from_rdata(name.clone(), TTL_S, data));
            }
            Ok(_) => {}
            Err(_) => reply.metadata.response_code = ResponseCode::ServFail,
        }
    }
    if reply.answers.is_empty() {
        let below = format!(".{key}");
        let exists = entry.is_some_and(|entry| !entry.records.is_empty())
            || zone.names.iter().any(|(name, entry)| name.ends_with(&below) && !entry.records.is_empty());
        if !exists {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let (refresh_s, retry_s, expire_s) = (3_600, 600, 86_400);
        let soa = SOA::new(Name::root(), Name::root(), 1, refresh_s, retry_s, expire_s, TTL_S);
        reply.add_authority(Record::from_rdata(Name::root(), TTL_S, RData::SOA(soa)));
    }
}

fn record(data: &Data) -> Result<RData, ProtoError> {
    let name = |text: &str| {
        let mut name = Name::from_ascii(text)?;
        name.set_fqdn(true);
        Ok::<_, ProtoError>(name)
    };
    Ok(match data {
        Data::Txt(text) if text.is_empty() => RData::TXT(TXT::from_bytes(vec![b""])),
        Data::Txt(text) => RData::TXT(TXT::from_bytes(text.chunks(TXT_STRING_OCTETS_MAX).collect())),
        Data::A(ip) => RData::A(A(*ip)),
        Data::Aaaa(ip) => RData::AAAA(AAAA(*ip)),
        Data::Mx(preference, exchange) => RData::MX(MX::new(*preference, name(exchange)?)),
        Data::Ptr(target) => RData::PTR(PTR(name(target)?)),
        Data::Cname(target) => RData::CNAME(CNAME(name(target)?)),
    })
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
