// Package inventory puts together what a store holds and what Docker knows of
// it: which layers there are, who uses them, what they take, and what the pool
// has been promised to.
//
// It reads, and changes nothing. dockerd may be running; what comes or goes
// meanwhile may be missing. How it is shown is the command's business.
package inventory
