// Package dockerconf reads the part of dockerd's daemon.json that says where its
// layers and records are, and what is wrong with the file; and edits it: what is
// not changed stays to the letter, and a new file takes the old one's place in one
// step.
//
//	dockerconf.go  what it says
//	edit.go        some keys changed; back.go: and what gives them what they had
//	replace.go     the file
//
// It knows nothing of what lies in the data-root, nor which keys are to be changed.
package dockerconf
