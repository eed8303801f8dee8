// Package plugin speaks Docker's GraphDriver plugin protocol: a Server puts a Driver
// behind a unix socket.
//
// The files:
//
//   - driver.go: Driver, what the protocol asks of a storage driver
//   - types.go, decode.go, respond.go: the types on the wire and their limits
//   - call.go: what every call goes through
//   - calls.go, diff.go, applydiff.go: the fifteen calls
//   - names.go: what dockerd's names of layers tell
//   - currentdriver.go, shareddriver.go: the one open Driver
//   - opening.go, store.go: how it is opened
//   - state.go: Init's parameters, stored for restarts
//   - server.go, listen.go, inflight.go: listening and stopping
//
// The package knows nothing of layers, mounts or ZFS, beyond opening the core's store
// (store.go). IDs, labels and options go to the Driver unchanged; the Driver checks them.
//
// The protocol comes from the engine (versions 1.13 to 27). The server closes four traps
// in it:
//
//   - A failed call answers with status 200 and the field Err. Diff has no such field,
//     because its answer is the tar. It answers with another status before the first byte,
//     and breaks the connection after it, so that a cut stream never reads as a whole one.
//   - The engine repeats a call whose connection broke, with what the first attempt left of
//     the body, often nothing. A missing body is therefore an error, and never a request
//     with empty fields.
//   - The engine sends Init once in its own life, not once in the plugin's. The server
//     stores the parameters, and a restarted plugin opens its Driver by itself.
//   - The engine waits seconds for a plugin to listen, and does not start when it does not.
//     The server listens before it opens the Driver, and reports trouble by failing calls.
//
// The server uses the handler of the helpers' sdk package, which registers calls and serves
// a listener. It replaces the rest: sdk's DecodeRequest has no limit, its StreamResponse
// ends a failed stream as if it were whole, its listener fixes where sockets live, and it
// cannot stop gracefully.
package plugin
