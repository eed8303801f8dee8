// Package quota limits what a layer may hold.
//
// There is one contract, Limiter, and two means of keeping it:
//
//   - dataset: the layer's upper and work directories lie on a child dataset
//     of their own with a refquota. Works with every OpenZFS, is exact, and
//     costs a dataset per limited layer (docs/decisions/0010).
//   - project: the directories get a project ID with a quota, on the one
//     dataset. Costs nothing, but only a module that lets overlayfs rename into
//     a project-inherit directory can carry it, which a probe finds out.
//
// A limit is a record in the store: it is written before anything is made for
// the layer and deleted after all of that is gone, so that whatever a crash
// leaves can be found and finished.
//
// What does not live here: which layers are limited and when they are mounted
// (package overlayzfs), and how the kernel is asked (package zfs).
package quota
