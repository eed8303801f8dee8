// Package receive makes a store of a stream that package transfer reads: it decides
// whether the stream fits what the host has, has ZFS receive it, and makes the result
// this host's store.
//
// The steps, in order, for a stream:
//
//   - Examine claims the store, and says what would be lost and what forbids it.
//   - Plan.Receive marks the dataset and has ZFS receive. From now on no driver opens
//     the store.
//   - Finish checks what came, puts Docker's records into the data-root, removes the
//     layers of the other host's containers and takes the mark away.
//
// An interrupted receive is continued by Mark, Abandon (nothing came: all is as it was
// before), CheckFinish and Finish. A store that is not one of ours is removed again,
// and its dataset is rolled back to the snapshot before it.
//
// examine.go decides, receive.go runs ZFS, finish.go and abandon.go end a receive,
// losses.go compares Docker's records here with those in the stream.
package receive
