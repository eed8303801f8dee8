// Package receive turns a stream that package transfer reads into a store. It checks
// whether the stream fits the host, has ZFS receive it, and makes the result this host's
// store.
//
// The steps, in order, for a stream:
//
//   - Examine claims the store, and returns what would be lost and what prevents it.
//   - Plan.Receive sets the property overlayzfs:receiving and has ZFS receive. From now on no driver opens
//     the store.
//   - Finish checks the received store, installs Docker's records in the data-root,
//     removes the layers of the other host's containers and then the property.
//
// ReadReceiving, Abandon, CheckFinish and Finish continue an interrupted receive. Abandon ends one
// of which nothing arrived. A received store that is not ours is removed, and the dataset
// is rolled back to the snapshot before.
//
// examine.go decides, receive.go runs ZFS, finish.go and abandon.go end a receive,
// losses.go compares Docker's records here with those in the stream.
package receive
