// Package plugin speaks Docker's GraphDriver plugin protocol: a Server puts a Driver
// behind a unix socket.
//
// What lives here: what is asked of a storage driver (driver.go), the wire's
// types and their limits (types.go, decode.go, respond.go), what every call
// goes through (call.go) and the fifteen calls (calls.go, diff.go,
// applydiff.go), the one open Driver (keeper.go, session.go), how it is opened
// (opening.go, store.go) and the parameters kept for that across restarts (state.go),
// listening and stopping (server.go, listen.go, flight.go).
//
// What does not: anything about layers, mounts or ZFS, beyond opening the core's
// store (store.go). IDs, labels and options
// go to the Driver as they came; it judges them.
//
// The protocol comes from the engine (versions 1.13 to 27) and has traps the
// server closes:
//
//   - A call that failed says so in the field Err of an answer with status 200.
//     Diff has no such field, since its answer is the tar: it answers with
//     another status before the first byte, and breaks the connection after
//     it, so that a cut stream never reads as a whole one.
//   - The engine repeats a call whose connection broke, with whatever its first
//     attempt left of the body, often nothing. A body that is missing where one
//     is needed is therefore an error and never a request with empty fields.
//   - The engine sends Init once in its own life, not once in the plugin's. The
//     parameters are stored, and a restarted plugin opens its Driver by itself.
//   - The engine gives a plugin seconds to listen and will not start when it
//     does not. The socket listens first; trouble is the answer to a call.
//
// Of the helpers' sdk package the handler is used, which registers calls and
// serves a listener. Its DecodeRequest has no limit, its StreamResponse ends a
// failed stream as if it were whole, its listener fixes where sockets live, and
// it cannot stop gently; the package does these itself.
package plugin
