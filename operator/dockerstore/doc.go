// Package dockerstore reads what Docker keeps of images, layers, containers and
// plugins in its data-root, and never writes there.
//
// The files are dockerd's own, without a version number. What is read is what
// Docker 20.10 to 27 write, in the layout of image/DRIVER/{imagedb,layerdb},
// containers/ID/config.v2.json, plugins/ID/config.json and buildkit/snapshots.db.
// Anything else where a record should be is no record: it is named in
// Records.Damaged and not guessed at. dockerd passes over such a record too, but
// whoever deletes by these records must not.
//
// dockerd may be running. A record that vanishes while it is read is none.
//
// Input is taken for hostile: files are bounded, names and digests are checked,
// and no path leads out of the data-root.
//
// What does not live here: what a layer is on disk, and daemon.json (package
// dockerconf).
package dockerstore
