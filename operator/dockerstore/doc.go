// Package dockerstore reads Docker's records of images, layers, containers and plugins
// in its data-root. It never writes there.
//
// The files are dockerd's own and have no version number. The package reads the layout
// of Docker 20.10 to 27: image/DRIVER/{imagedb,layerdb}, containers/ID/config.v2.json,
// plugins/ID/config.json and buildkit/snapshots.db. Anything else in the place of a
// record is listed in Records.Damaged. dockerd skips such records; a caller that deletes
// by these records must not.
//
// dockerd may be running. A record that vanishes while it is read counts as absent.
//
// Input is treated as hostile: file sizes are bounded, names and digests are checked,
// and no path leads out of the data-root (os.Root).
//
//	root.go        opens the data-root, reads bounded files
//	records.go     Records: everything under one storage driver
//	layers.go, images.go, containers.go   each kind of record
//	builds.go      BuildKit's database
//	drivers.go     which drivers have records
//	gaps.go        records that refer to missing ones
//	plugins.go     installed storage drivers
//	tarsplit.go, tarentries.go   the record of a layer's tar, and its entries
//	files.go       the files to copy for a transfer; dockerd's lock
//
// Package overlayzfs knows what a layer is on disk, package dockerconf reads daemon.json.
package dockerstore
