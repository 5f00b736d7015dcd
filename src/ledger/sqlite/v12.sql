-- What networks of clients were granted today, so that none takes the whole budget. Of other days nothing is kept.
CREATE TABLE grant_networks (
    day     INTEGER NOT NULL,
    network BLOB    NOT NULL CHECK (length(network) = 16),
    given   INTEGER NOT NULL CHECK (given > 0),
    PRIMARY KEY (day, network)
) STRICT, WITHOUT ROWID;
