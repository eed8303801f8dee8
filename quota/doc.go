// Package quota limits what a layer may hold.
//
// There is one contract, Limiter, and two means of keeping it:
//
//   - dataset: the layer's upper and work directories lie on a child dataset
//     of their own with a refquota. Works with every OpenZFS, is exact, and
//     costs a dataset per limited layer (docs/decisions/0010).
//   - project: the directories get a project ID with a quota, on the one
//     dataset. Costs nothing to make, but only a module that lets overlayfs
//     rename into a project-inherit directory can carry it, which a probe
//     finds out, and the limit is held to by a governor, not exactly.
//
// A limit is a record in the store: it is written before anything is made for
// the layer and deleted after all of that is gone, so that whatever a crash
// leaves can be found and finished. What does not carry the layer's mark (a
// dataset without the layer's own property, a project ID outside of our range)
// is somebody else's and is left alone.
//
// # The governor
//
// The kernel compares a project quota with what the last transaction group
// wrote. A group lasts up to five seconds, and what is written meanwhile gets
// through: with a limit of 50 MiB more than 200 MiB were. So while a limited
// layer is attached, the governor reads the dataset's counter of written bytes
// and the size of what memory has yet to write. When that could be half of what
// the layer has free, it ends the transaction group, to know how much it really
// is. When it could be all, it sets the layer's limit to one byte, which the
// kernel refuses by at once, and gives the limit back when the group has ended.
//
// How well that works follows from three numbers: the rate at which the dataset
// is written to, the pause between two looks, and the time that ending a group
// takes (three groups in truth: that is what the kernel's request waits for).
//
//   - Too much: rate × pause, and what calls under way still write. The pause is
//     5 ms near the limit, 50 ms when nothing was written for a second, and
//     further off such that at 1 GiB/s half of the slack is left: 5 MiB at that
//     rate, 50 MiB from idle. A single call is counted when it returns, and
//     before that only as far as memory holds what it wrote, so one large call
//     may pass while earlier data are being written out. Measured with one
//     writer in an emulated machine: 1 to 5 MiB; with four: up to 11.
//   - Too little: the counters are the dataset's, not the layer's. Whatever is
//     written by anyone, compressed away, overwritten or deleted counts as the
//     layer's until a group ends. A layer is refused falsely when twice of what
//     the whole dataset takes while a group ends is more than it has free; it
//     is for as long as a group takes to end. Beside a neighbour that writes
//     without pause, a layer close to its limit is refused most of the time:
//     who cannot have that chooses quota mode dataset.
//   - Files that are made without writing (empty ones, directories, links) take
//     space and are not counted; they are seen when a group ends by itself.
//
// Groups are ended early for at most half of the time. A layer that is full
// costs a look at its usage every 100 ms, one far from its limit a look a
// second, none attached nothing. A new layer's first Attach ends a group: while
// nothing of it is on disk the kernel refuses nothing. A crash may leave a layer
// with one byte; Recover gives it its limit back.
//
// # What does not live here
//
// Which layers are limited and when they are mounted (package overlayzfs), and
// how the kernel is asked (package zfs).
package quota
