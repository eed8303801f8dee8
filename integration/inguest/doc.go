// Package inguest holds the helpers that tests inside the lab share. It knows
// neither engines nor stores.
//
//	wait.go      wait for a condition
//	run.go       run programs, and functions in parallel
//	mounts.go    read mount tables, unmount
//	disk.go      directories on the root disk, space of datasets
//	datasets.go  lists of datasets
package inguest
