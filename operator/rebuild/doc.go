// Package rebuild makes a layer's tar again from what Docker recorded of it
// (tar-split) and the layer's files, and compares its digest with the recorded one.
//
// An error says whose fault it is: a Difference is the layer's, Unproven is the
// record's, and any other kept the two from being compared.
//
// What does not live here: the record itself (operator/dockerstore), and what is
// done with the tar: operator/verify looks for what it names, operator/migrate
// unpacks it.
package rebuild
