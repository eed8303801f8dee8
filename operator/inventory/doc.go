// Package inventory combines a store's layers with Docker's records: which layers exist,
// which images and containers use them, what they take, and how far the pool is
// overcommitted.
//
// It changes nothing. dockerd may be running; layers that come or go meanwhile may be
// missing. Package main formats the output.
package inventory
