// Package contenders keeps the race's contenders: each a graphdriver.Driver with a
// store of its own, opened when it is first asked for. Ours runs as the plugin's
// own process behind moby's proxy, or in this process; the peers are moby's
// packages as dockerd has them. The same for snapshotters, which are containerd's.
//
// What they are made to do, and how it is measured, lives in
// integration/bench/race.
package contenders
