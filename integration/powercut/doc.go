// Package powercut cuts the power of a machine at random moments while layers
// are made, filled and removed in it, and judges what the next start finds.
//
// The host keeps the list of what was answered, in a process that no power cut
// reaches. Every round is one boot: the pool is imported, the driver started,
// all that the list has is looked at, and then a load runs until the emulator is
// killed. What the list calls recorded must be there and whole; what was under
// way may be there, whole, or not; and besides there must be nothing.
//
//	book.go     the host's side of a load
//	list.go     what was answered: layers and their states
//	judge.go    what may be found of a layer after a power cut
//	store.go    what may lie in the store besides
//	engine.go   the same for a whole engine, which has its own list
//	finding.go  what is wrong
//	rounds.go   machines, one after the other
//	round.go    one machine and its end
//	job.go      what the machine is given
//	moment.go   when that is
//
// guest/ is the program in the guest, wire/ the protocol between both sides, and
// layers/ the content of the layers.
package powercut
