// Package quota limits what a layer may hold.
//
// Limiter is the one contract. It enforces limits in one of two modes:
//
//   - dataset: the layer's upper and work directories lie on a child dataset with a refquota.
//     The mode works with every OpenZFS, is exact, and costs a dataset per limited layer
//     (docs/decisions/0010).
//   - project: the directories get a project ID with a quota, on the store's own dataset. The
//     mode costs nothing to set up. But it needs a module that lets overlayfs rename into a
//     project-inherit directory, which a probe finds out. A governor enforces the limit, and
//     not exactly.
//
// A record in the store describes each limit. It is written before anything is made for the
// layer, and deleted after all of that is gone. So everything that a crash leaves can be found
// and finished. A dataset without the layer's local property, and a project ID outside our
// range, belong to others and are left alone.
//
// # The governor
//
// The kernel compares a project quota with the usage of the last transaction group. A group
// lasts up to five seconds, and everything written meanwhile gets through: with a limit of
// 50 MiB more than 200 MiB were written. So the governor watches while a limited layer is
// attached. It reads the dataset's counter of written bytes and the size of the data that
// memory has yet to write. When that could be half of the layer's free space, it ends the
// transaction group, to learn the usage. When it could be all, it freezes the layer: it sets
// the limit to one byte, and the kernel refuses writes at once. The end of the group thaws the
// layer: it gets its limit back.
//
// Three numbers decide how well that works: the rate at which the dataset is written to, the
// pause between two checks, and the time that the end of a group takes. The kernel's request
// waits for three groups in truth.
//
//   - Too much: rate × pause, and the data of calls under way. The pause is 5 ms near the limit,
//     and 50 ms when nothing was written for a second. Further off it leaves half of the slack
//     at 1 GiB/s: 5 MiB at that rate, 50 MiB from idle. A call is counted when it returns, and
//     before that only as far as memory holds its data. So one large call may pass while earlier
//     data is being written out. Measured in an emulated machine: 1 to 5 MiB with one writer, up
//     to 11 MiB with four.
//   - Too little: the counters are the dataset's, not the layer's. Data that any layer writes,
//     and data that is compressed away, overwritten or deleted, counts as the layer's until a
//     group ends. A layer is refused falsely when it has less free than twice of what the whole
//     dataset takes during the end of a group. The refusal ends with the group. Beside a
//     neighbour that writes without pause, a layer close to its limit is refused most of the
//     time. Choose quota mode dataset where that is not acceptable.
//   - Files that are made without a write (empty files, directories, links) take space and are not
//     counted. The governor sees them when a group ends by itself.
//
// Groups are ended early for at most half of the time. A full layer costs a read of its usage
// every 100 ms, a layer far from its limit a check a second, and no attached layer nothing. The
// first Attach of a new layer ends a group, because the kernel refuses nothing while no data of
// the layer is on disk. A crash may leave a layer with one byte, and Recover gives it its limit
// back.
//
// # Files
//
//	limiter.go           Limiter, the choice of the mode, the contract of both modes
//	recover.go           Recover, Sweep, looks in the background, Close
//	discard.go           Discard and its retries
//	record.go            the records in the store
//	limits.go            Limits, Usage, Mode, and how they are parsed
//	properties.go        the dataset properties that a container may choose
//	datasets.go          mode dataset: make, attach, detach, change
//	datasets_discard.go  mode dataset: destroy, sweep
//	removed.go           mode dataset: removed layers' datasets, which snapshots keep
//	spares.go            mode dataset: datasets that are made beforehand
//	quiet.go             when spares are made
//	inodes.go            mode dataset: counting files, freezing a layer's space
//	inodewatch.go        mode dataset: the loop that enforces the limit on files
//	projects.go          mode project: project IDs, make, sweep
//	probe.go             mode project: whether the kernel can carry it
//	governor.go          mode project: the loop that enforces
//	account.go           mode project: the counters and the verdict on a layer
//
// # What does not live here
//
// Package overlayzfs knows which layers are limited and when they are mounted. Package zfs knows
// how the kernel is asked.
package quota
