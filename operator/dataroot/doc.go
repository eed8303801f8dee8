// Package dataroot moves the content of Docker's data-root to a dataset.
//
// Move.Do copies the directory into the dataset, which is mounted nowhere else meanwhile, and
// compares both. Then it switches: the directory of before gets the suffix Suffix, an empty one
// takes its place, and the dataset is mounted there. Nothing of the old content
// is changed or deleted.
//
// Every step can be interrupted and repeated. A property of the dataset says that a move is under
// way, and from where. Before the switch the data-root is as it was; a copy that was cut begins
// anew. In the switch a link that leads nowhere stands for the data-root, so that no dockerd
// begins an empty one there before the dataset has its mount point.
//
//	move.go    Move: checks, steps
//	switch.go  the exchange of directory and dataset
package dataroot
