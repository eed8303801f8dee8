// Package contenders opens the race's contenders: each a graphdriver.Driver with its own
// store, opened when it is first asked for. Ours runs as the plugin's process behind moby's
// proxy, or in this process. The peers are moby's packages, as in dockerd. Contenders for
// snapshots are containerd's snapshotters and ours.
//
// Package race says what contenders do and how that is measured.
package contenders
