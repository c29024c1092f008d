//! Scripts as clients see them: what they may do, what they get, how they fail and how they are stopped.

use script::{Called, Caller, Engine, Failure, Kind, Options, Outcome, Run, Stop, Target, sha1_hex};
use wire::args::{Args, Ranges};
use wire::reply::{Protocol, Reply};

/// A server that knows a handful of commands.
#[derive(Default)]
struct Server {
    logged: Vec<(u8, String)>,
    calls: Vec<String>,
    /// The tick at which the script is stopped; 0 is never.
    ticks: u32,
}

impl Caller for Server {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        self.calls.push(words.join(" "));
        let mut reply = Reply::new(reply, protocol);
        match words[0].as_str() {
            "ping" => reply.simple("PONG"),
            "echo" => reply.bulk(args.at(1)),
            "number" => reply.integer(7),
            "null" => reply.null(),
            "double" => reply.double(3.25),
            "true" => reply.boolean(true),
            "big" => reply.big_number(b"1234567999999999999999999999999999999"),
            "verbatim" => reply.verbatim(*b"txt", b"some text"),
            "map" => {
                reply.map(1);
                reply.bulk(b"field");
                reply.bulk(b"value");
            }
            "set" => {
                reply.set(1);
                reply.bulk(b"member");
            }
            "list" => {
                reply.array(2);
                reply.bulk(b"a");
                reply.null();
            }
            "abandon" => return Called::Abandoned,
            _ => {
                reply.error("ERR no such command here");
                return Called::Refused;
            }
        }
        Called::Replied
    }

    fn permitted(&mut self, args: Args<'_>) -> Option<bool> {
        (args.at(0) != b"nosuch").then(|| args.at(0) == b"ping")
    }

    fn log(&mut self, level: u8, text: &[u8]) {
        self.logged.push((level, String::from_utf8_lossy(text).into_owned()));
    }

    fn tick(&mut self) -> Option<Stop> {
        self.ticks = self.ticks.checked_sub(1)?;
        (self.ticks == 0).then_some(Stop::Killed)
    }
}

fn patience(ticks: u32) -> Server {
    Server { ticks, ..Server::default() }
}

fn engine(kind: Kind) -> Engine {
    Engine::new(&Options { kind, insecure: false, version: "7.2.4", seed: 1 })
}

struct Bench {
    engine: Engine,
    server: Server,
    protocol: Protocol,
}

impl Bench {
    fn new() -> Bench {
        Bench { engine: engine(Kind::Script), server: Server::default(), protocol: Protocol::Resp2 }
    }

    fn run(&mut self, body: &str, ticks: u32) -> (Result<Outcome, Failure>, String) {
        let mut params = Ranges::new();
        params.begin_own();
        for param in ["key", "one", "two"] {
            params.add(param.as_bytes());
        }
        let sha = sha1_hex(body.as_bytes());
        let target = Target::Script { sha: &sha, body: body.as_bytes() };
        let run = Run { target, params: params.args(&[]), key_count: 1 };
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.protocol);
        self.server.ticks = ticks;
        let outcome = self.engine.run(&run, &mut self.server, &mut reply);
        (outcome, String::from_utf8_lossy(&out).replace("\r\n", " ").replace(&*String::from_utf8_lossy(&sha), "SHA"))
    }

    fn eval(&mut self, body: &str) -> String {
        match self.run(body, 0) {
            (Ok(_), reply) => reply.trim_end().to_owned(),
            (Err(failure), _) => format!("{failure:?}"),
        }
    }
}

fn eval(body: &str) -> String {
    Bench::new().eval(body)
}

fn eval3(body: &str) -> String {
    Bench { protocol: Protocol::Resp3, ..Bench::new() }.eval(body)
}

#[test]
fn values_become_replies() {
    for (body, reply) in [
        ("return 'hello'", "$5 hello"),
        ("return 100.9", ":100"),
        ("return -1.5", ":-1"),
        ("return true", ":1"),
        ("return false", "$-1"),
        ("return nil", "$-1"),
        ("return", "$-1"),
        ("return {1,2,{3,'x'},nil,5}", "*3 :1 :2 *2 :3 $1 x"),
        ("return {ok='fine'}", "+fine"),
        ("return {err='MY error'}", "-MY error"),
        ("return {double=1.5}", "$3 1.5"),
        ("return {big_number='12\\r\\n3'}", "$5 12  3"),
        ("return {map={a=1}}", "*2 $1 a :1"),
        ("return {set={a=true}}", "*1 $1 a"),
        ("return {verbatim_string={format='txt', string='abc'}}", "$3 abc"),
        ("return {KEYS[1], #KEYS, ARGV[1], ARGV[2], #ARGV}", "*5 $3 key :1 $3 one $3 two :2"),
        ("return redis.status_reply('YES')", "+YES"),
        ("return redis.error_reply('NO way')", "-NO way"),
        ("return redis.error_reply('-NO way')", "-NO way"),
        ("return redis.error_reply('')", "-ERR"),
        ("return redis.error_reply('alone')", "-ERR alone"),
        ("return 2^63", ":-9223372036854775808"),
        ("return _G", "*0"),
        ("return setmetatable({}, {__index=function() foo() end})", "*0"),
    ] {
        assert_eq!(eval(body), reply, "{body}");
    }
    for (body, reply) in [
        ("return true", ":1"),
        ("redis.setresp(3) return true", "#t"),
        ("return nil", "_"),
        ("return {double=1.5}", ",1.5"),
        ("return {map={a=1}}", "%1 $1 a :1"),
        ("return {set={a=true}}", "~1 $1 a"),
        ("return {verbatim_string={format='txt', string='abc'}}", "=7 txt:abc"),
    ] {
        assert_eq!(eval3(body), reply, "{body}");
    }
}

#[test]
fn replies_become_values_and_come_back() {
    for (command, two, three) in [
        ("ping", "+PONG", "+PONG"),
        ("number", ":7", ":7"),
        ("null", "$-1", "_"),
        ("double", "$4 3.25", ",3.25"),
        ("true", ":1", "#t"),
        ("big", "$37 1234567999999999999999999999999999999", "(1234567999999999999999999999999999999"),
        ("verbatim", "$9 some text", "=13 txt:some text"),
        ("map", "*2 $5 field $5 value", "%1 $5 field $5 value"),
        ("set", "*1 $6 member", "~1 $6 member"),
    ] {
        assert_eq!(eval3(&format!("redis.setresp(3) return redis.call('{command}')")), three, "{command}");
        assert_eq!(eval(&format!("return redis.call('{command}')")), two, "{command}");
    }
    assert_eq!(eval("local l = redis.call('list') return {l[1], l[2] == false, #l}"), "*3 $1 a :1 :2");
    assert_eq!(eval("return type(redis.call('null'))"), "$7 boolean");
    assert_eq!(eval("return redis.call('ping')['ok']"), "$4 PONG");
}

#[test]
fn arguments_keep_the_precision_of_numbers() {
    let mut bench = Bench::new();
    bench.eval("redis.call('echo', 9007199254740991) redis.call('echo', 0.1) redis.call('echo', -0.0, 1e20)");
    assert_eq!(bench.server.calls, ["echo 9007199254740991", "echo 0.1", "echo -0 1e+20"]);
}

#[test]
fn errors_say_what_and_where() {
    for (body, reply) in [
        ("return redis.call('nosuch')", "-ERR no such command here script: SHA, on @user_script:1."),
        ("return redis.pcall('nosuch')", "-ERR no such command here"),
        (
            "return redis.call()",
            "-ERR Please specify at least one argument for this redis lib call script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call('echo', {})",
            "-ERR Lua redis lib command arguments must be strings or integers script: SHA, on @user_script:1.",
        ),
        ("\n\nerror('gone')", "-ERR user_script:3: gone script: SHA, on @user_script:3."),
        ("error({err='MY own'})", "-MY own script: SHA, on @user_script:1."),
        (
            "return a",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'a' script: SHA, on @user_script:1.",
        ),
        ("a = 1", "-ERR user_script:1: Attempt to modify a readonly table script: SHA, on @user_script:1."),
        ("os.exit()", "-ERR user_script:1: attempt to call field 'exit' (a nil value) script: SHA, on @user_script:1."),
        ("redis.setresp(4)", "-ERR RESP version must be 2 or 3. script: SHA, on @user_script:1."),
        ("redis.sha1hex()", "-ERR wrong number of arguments script: SHA, on @user_script:1."),
        (
            "local x = 1\ncjson.decode('[1')",
            "-ERR user_script:2: Expected comma or array end but found T_END at character 3 script: SHA, on @user_script:2.",
        ),
        ("bad script", "Refused(\"Error compiling script (new function): user_script:1: '=' expected near 'script'\")"),
    ] {
        assert_eq!(eval(body), reply, "{body}");
    }
    assert_eq!(
        eval("local ok, err = pcall(redis.call, 'nosuch') return {tostring(ok), err}"),
        "*2 $5 false $24 ERR no such command here"
    );
    assert_eq!(
        eval("local ok, err = pcall(function() return foo end) return err"),
        "$75 user_script:1: Script attempted to access nonexistent global variable 'foo'"
    );
    let (outcome, _) = Bench::new().run("return redis.call('nosuch')", 0);
    assert_eq!(outcome, Ok(Outcome { is_error: true, was_counted: true }));
    let (outcome, _) = Bench::new().run("return {err='MY own'}", 0);
    assert_eq!(outcome, Ok(Outcome { is_error: true, was_counted: false }));
}

#[test]
fn nothing_a_script_does_outlives_it() {
    for body in [
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = {}",
        "redis = 1",
        "_G = {}",
        "_G.x = 1",
        "redis.call = 1",
        "cjson.encode = 1",
        "cmsgpack.pack = 1",
        "bit.lshift = 1",
        "string.rep = 1",
        "getmetatable('').__index = 1",
        "getmetatable('').__index.rep = 1",
        "rawset(redis, 'call', 1)",
        "rawset(_G, 'x', 1)",
        "setmetatable(redis, nil)",
        "for k, v in pairs(_G) do rawset(_G, k, nil) end",
    ] {
        let reply = eval(body);
        assert!(reply.contains("Attempt to modify a readonly table"), "{body}: {reply}");
    }
    for name in ["print", "dofile", "loadfile", "require", "package", "io", "debug", "getfenv", "setfenv", "newproxy"] {
        let reply = eval(&format!("return {name}"));
        assert!(reply.contains(&format!("nonexistent global variable '{name}'")), "{name}: {reply}");
    }
    let mut bench = Bench::new();
    assert_eq!(bench.eval("table.insert(redis, 'x') loadstring('return 1')() return #redis"), ":1");
    for _ in 0..60 {
        bench.eval("return 1");
    }
    assert_eq!(bench.eval("return #redis"), ":0");
    assert!(bench.eval("loadstring('y = 1')()").contains("readonly"));
    assert!(bench.eval("coroutine.wrap(function() z = 1 end)()").contains("readonly"));
    assert_eq!(bench.eval("return tostring(loadstring(string.dump(function() return 1 end)))"), "$3 nil");
    assert_eq!(
        bench.eval(
            "local d = string.dump(function() end) return tostring(load(function() local r = d d = nil return r end))"
        ),
        "$3 nil"
    );
    assert_eq!(
        bench.eval("local parts = {'return', ' 5'} return load(function() return table.remove(parts, 1) end)()"),
        ":5"
    );
}

#[test]
fn tables_that_cannot_be_changed_can_be_read() {
    assert_eq!(eval("for k, v in pairs(os) do return k end"), "$5 clock");
    assert_eq!(eval("local k, v = next(os) return {k, type(v)}"), "*2 $5 clock $8 function");
    assert_eq!(eval("return type(rawget(redis, 'call'))"), "$8 function");
    assert_eq!(eval("return redis == server and rawget(_G, 'nosuch') == nil"), ":1");
    assert_eq!(eval("local s = 0 for _, v in pairs({1, 2, x = 3}) do s = s + v end return s"), ":6");
}

#[test]
fn libraries_do_what_redis_has_them_do() {
    for (body, reply) in [
        ("return cjson.encode({a={1,2,{}}})", "$14 {\"a\":[1,2,{}]}"),
        ("return cjson.encode({[1]=1,[3]=3})", "$10 [1,null,3]"),
        ("return cjson.encode(cjson.null)", "$4 null"),
        ("return cjson.encode(0.1)", "$3 0.1"),
        ("return cjson.decode('[0.0, -5e3, 1023.2]')[3] * 10", ":10232"),
        ("return cjson.decode('{\"a\":null}').a == cjson.null", ":1"),
        ("return tostring(pcall(cjson.encode, {[1]=1,[100]=1}))", "$5 false"),
        ("return tostring(pcall(cjson.encode, {x=0/0}))", "$5 false"),
        ("return tostring(pcall(cjson.encode, {[false]=1}))", "$5 false"),
        ("cjson.encode_max_depth(1) return tostring(pcall(cjson.encode, {{}}))", "$5 false"),
        ("return {bit.tobit(0xffffffff), bit.band(12, 10), bit.bxor(1, 2), bit.bnot(0)}", "*4 :-1 :8 :3 :-1"),
        ("return {bit.tohex(65535, -2147483648), bit.tohex(255, 2), bit.bswap(1)}", "*3 $8 0000FFFF $2 ff :16777216"),
        (
            "return {bit.lshift(1, 4), bit.rshift(-1, 28), bit.arshift(-256, 4), bit.rol(0x12345678, 12)}",
            "*4 :16 :15 :-16 :1164411171",
        ),
        ("return {struct.unpack('>I2B', struct.pack('>I2B', 258, 7))}", "*3 :258 :7 :4"),
        ("return {struct.unpack('<hs', struct.pack('<hs', -2, 'abc'))}", "*3 :-2 $3 abc :7"),
        ("return struct.size('!4bi4d')", ":16"),
        ("return {struct.unpack('Bc0', struct.pack('Bc0', 3, 'abc'))}", "*2 $3 abc :5"),
        ("return struct.pack('>d', 1.5) == '\\63\\248\\0\\0\\0\\0\\0\\0'", ":1"),
        ("return {cmsgpack.unpack(cmsgpack.pack(1, 'a', {1, 2}, {x = true}))}", "*4 :1 $1 a *2 :1 :2 *0"),
        ("local at, one = cmsgpack.unpack_one(cmsgpack.pack(5, 6)) return {at, one}", "*2 :1 :5"),
        ("return {cmsgpack.unpack_limit(cmsgpack.pack(5, 6), 5)}", "*3 :-1 :5 :6"),
        (
            "return (cmsgpack.pack(0.1):gsub('.', function(c) return string.format('%02x', c:byte()) end))",
            "$18 cb3fb999999999999a",
        ),
        (
            "return (cmsgpack.pack(-1099511627776):gsub('.', function(c) return string.format('%02x', c:byte()) end))",
            "$18 d3ffffff0000000000",
        ),
        ("math.randomseed(10) local a = math.random(1000) math.randomseed(10) return a == math.random(1000)", ":1"),
        ("for _ = 1, 100 do local x = math.random(2, 3) assert(x == 2 or x == 3) end return math.random() < 1", ":1"),
        ("return redis.sha1hex('')", "$40 da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}", "*2 $5 7.2.4 :459268"),
        ("return redis.acl_check_cmd('ping')", ":1"),
        ("return redis.acl_check_cmd('get', 'x')", "$-1"),
        ("return {redis.replicate_commands(), redis.set_repl(redis.REPL_ALL)}", "*1 :1"),
        ("return #cjson.encode(string.rep('a', 1000))", ":1002"),
    ] {
        assert_eq!(eval(body), reply, "{body}");
    }
    assert!(eval("redis.acl_check_cmd('nosuch')").starts_with("-ERR Invalid command passed to redis.acl_check_cmd()"));
    assert!(eval("return struct.unpack('I9000000', 'x')").contains("integral size 9000000 is larger than limit of 32"));
    assert!(eval("return cmsgpack.unpack('\\145')").contains("Missing bytes in input."));
    let mut bench = Bench::new();
    bench.eval("redis.log(redis.LOG_WARNING, 'a', 1, 'b')");
    assert_eq!(bench.server.logged, [(3, "a 1 b".to_owned())]);
}

#[test]
fn a_stopped_script_stops_whatever_it_catches() {
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f = function() while 1 do redis.call('ping') end end while 1 do pcall(f) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.run(body, 2).0, Err(Failure::Stopped(Stop::Killed)), "{body}");
        assert_eq!(bench.eval("for i = 1, 1000000 do end return 'next'"), "$4 next", "the state is as good as new");
    }
    let mut bench = Bench::new();
    let outcome = bench.run("pcall(redis.call, 'abandon') redis.call('ping')", 0).0;
    assert_eq!(outcome, Err(Failure::Stopped(Stop::Abandoned)));
    assert_eq!(bench.server.calls, ["abandon"]);
}

#[test]
fn memory_and_depth_are_bounded() {
    let mut bench = Bench::new();
    let before = bench.engine.memory_bytes();
    assert!(before < 100 << 10, "{before}");
    let reply = bench.eval("local s = 'x' while true do s = s .. s end");
    assert!(reply.contains("not enough memory"), "{reply}");
    assert_eq!(bench.eval("return 1"), ":1");
    let reply = bench.eval("local a = {} local b = {a} a[1] = b return a");
    assert!(reply.ends_with("*1 -ERR reached lua stack limit"), "{reply}");
    let reply = bench.eval("local function f() return f() + 1 end return f()");
    assert!(reply.contains("stack overflow"), "{reply}");
}

#[test]
fn unpack_gives_what_there_is_and_no_more() {
    assert_eq!(eval("local t = {} for at = 1, 7999 do t[at] = at end return select('#', unpack(t))"), ":7999");
    for range in ["-2, 2147483647", "0, 2147483647", "-2147483648, -2", "1, 1e300", "-1e300, 1", "1, 9000"] {
        let reply = eval(&format!("return {{unpack({{1,2,3}}, {range})}}"));
        assert!(reply.contains("too many results to unpack"), "{range}: {reply}");
    }
    assert_eq!(eval("return {unpack({1,2,3}, -1, -2)}"), "*0");
    assert_eq!(eval("return select('#', unpack({1,2,3}, -1, 5))"), ":7");
    assert_eq!(eval("return select('#', unpack({1,2,3}, -2147483648, -2147483646))"), ":3");
    assert_eq!(eval("return {unpack({1,2,3})}"), "*3 :1 :2 :3");
    assert_eq!(
        eval("local f, err = loadstring('x x', 'a\\0b') return err"),
        "$37 [string \"a\"]:1: '=' expected near 'x'"
    );
}

#[test]
fn patterns_that_would_exhaust_the_stack_are_refused() {
    for call in ["string.find(s, p)", "string.match(s, p)", "s:gsub(p, '')", "s:gmatch(p)()"] {
        let reply = eval(&format!("local s, p = string.rep('a', 100000), string.rep('a?', 100000)..'b' return {call}"));
        assert!(reply.contains("pattern too complex"), "{call}: {reply}");
    }
    assert_eq!(eval("local s = string.rep('a', 100000) return {s:find(s), s:find(s..'?', 1, true)}"), "*1 :1");
    assert_eq!(eval("return {('key:17'):match('^(%a+):(%d+)$')}"), "*2 $3 key $2 17");
}

fn load(engine: &mut Engine, code: &str) -> Result<script::Declared, Failure> {
    engine.load(b"lib", 1, code.as_bytes(), &mut patience(2))
}

#[test]
fn functions_are_registered_and_run() {
    let mut engine = engine(Kind::Function);
    let code = "#!lua name=lib\nlocal function add(a) return a + 1 end\n\
        redis.register_function('one', function(keys, args) return {add(1), keys[1], args[1]} end)\n\
        server.register_function{function_name='two', callback=function() return redis.call('ping') end, \
        description='says', flags={'no-writes'}}";
    let declared = load(&mut engine, code).expect("as it should be");
    let names: Vec<_> = declared.functions.iter().map(|function| function.name.as_slice()).collect();
    assert_eq!(names, [b"one", b"two"]);
    assert_eq!(declared.functions[1].description.as_deref(), Some(&b"says"[..]));
    assert!(declared.functions[1].flags.has(script::ScriptFlags::NO_WRITES));
    let mut fcall = |function: &str| {
        let mut params = Ranges::new();
        params.begin_own();
        for param in ["key", "one"] {
            params.add(param.as_bytes());
        }
        let target =
            Target::Function { library: b"lib", stamp: 1, code: code.as_bytes(), function: function.as_bytes() };
        let run = Run { target, params: params.args(&[]), key_count: 1 };
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        engine.run(&run, &mut Server::default(), &mut reply).expect("it runs to its end");
        String::from_utf8(out).expect("text").replace("\r\n", " ")
    };
    assert_eq!(fcall("one"), "*3 :2 $3 key $3 one ");
    assert_eq!(fcall("two"), "+PONG ");
}

#[test]
fn libraries_that_are_wrong_are_refused() {
    let mut engine = engine(Kind::Function);
    for (body, text) in [
        ("bad script", "Error compiling function: user_function:2: '=' expected near 'script'"),
        ("return 1", "No functions registered"),
        ("return math.random()", "Script attempted to access nonexistent global variable 'math'"),
        ("return redis.call('ping')", "Script attempted to access nonexistent global variable 'call'"),
        ("mt = getmetatable(_G)", "Script attempted to access nonexistent global variable 'getmetatable'"),
        ("a = 1", "Attempt to modify a readonly table"),
        ("redis.register_function()", "wrong number of arguments to redis.register_function"),
        ("redis.register_function('a')", "calling redis.register_function with a single argument is only applicable"),
        ("redis.register_function(nil, function() end)", "first argument to redis.register_function must be a string"),
        ("redis.register_function('a', 1)", "second argument to redis.register_function must be a function"),
        ("redis.register_function('a-b', function() end)", "Library names can only contain letters, numbers"),
        (
            "redis.register_function{callback=function() end}",
            "redis.register_function must get a function name argument",
        ),
        ("redis.register_function{function_name='a'}", "redis.register_function must get a callback argument"),
        (
            "redis.register_function{function_name='a', callback=1}",
            "callback argument given to redis.register_function",
        ),
        ("redis.register_function{function_name='a', x=1}", "unknown argument given to redis.register_function"),
        ("redis.register_function{function_name='a', callback=function() end, flags={'x'}}", "unknown flag given"),
        ("server.register_function('a-b', function() end)", "Function names can only contain letters, numbers"),
        ("server.register_function()", "wrong number of arguments to server.register_function"),
        ("for _ = 1, 2 do redis.register_function('a', function() end) end", "Function already exists in the library"),
    ] {
        match load(&mut engine, &format!("#!lua name=lib\n{body}")) {
            Err(Failure::Refused(found)) => assert!(found.contains(text), "{body}: {found}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    let endless = load(&mut engine, "#!lua name=lib\nwhile true do end");
    assert_eq!(endless, Err(Failure::Stopped(Stop::Killed)));
}
