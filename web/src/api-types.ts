// The types of the API. Written by `npm run types` in web/. Do not edit.

export interface paths {
    "/api/v1/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the newest alerts that the service remembers, the newest first. */
        get: operations["alerts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ask": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Scores the newest frame of a source against words. */
        get: operations["ask"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/ask_picture": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Scores the picture in the request against words. */
        post: operations["ask_picture"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/cancel-watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the watch for words before its time. */
        post: operations["cancel-watch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The files of the configuration, whether they can be edited, and what is wrong with them. */
        get: operations["config"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Checks a text in place of the configuration file, as `stakeout check --offline` does. */
        post: operations["config_check"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_edit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Changes labels, label sets and sources in the text of the configuration, and keeps its comments. */
        post: operations["config_edit"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_preview": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** What a save of a text as the configuration file would do. */
        post: operations["config_preview"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_save": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Saves a text as the configuration file, if the file is still the one that the client has read. */
        post: operations["config_save"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_version": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The text of an earlier version of the configuration file. */
        get: operations["config_version"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/config_versions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Earlier versions of the configuration file, the newest first. */
        get: operations["config_versions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/controls": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the settings that were changed while the service runs, and who changed them. */
        get: operations["controls"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/disable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Does not read a source, or does not judge a label, until the configuration changes that. */
        post: operations["disable"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/doctor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Checks everything that can be wrong around the service, and says what to do. */
        post: operations["doctor"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/enable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Reads a source again, or judges a label again, until the configuration changes that. */
        post: operations["enable"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/entry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Shows an alert or a near miss with all scores of its frame, and the frames before and after it. */
        get: operations["entry"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Says for each label of a source why it is raised, or which gate holds it. */
        get: operations["explain"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/forget": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Deletes what was seen on a source in a range of time, so that no file of the history contains it. */
        post: operations["forget"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/mark": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Stores a person's verdict on an alert, a near miss, or a moment of a label. */
        post: operations["mark"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/marks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Counts the verdicts of people for each label, and lists the newest ones. */
        get: operations["marks"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/near_misses": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the newest moments that nearly raised a label, the newest first. */
        get: operations["near_misses"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/rejudge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Judges the stored scores of one label again with other settings, and compares the alerts with those of the service. */
        get: operations["rejudge"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Judges stored scores again, with the settings of that time or with others, and counts the alerts. */
        get: operations["replay"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/schema": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The JSON Schema of the configuration file, as `stakeout schema` prints it. */
        get: operations["schema"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/scores": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Reads the scores of a source in a range of time, with the lowest and the highest score for each point of a chart. */
        get: operations["scores"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Finds stored frames by words, or by a stored frame that they are similar to. */
        get: operations["search"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/set": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sets the threshold of a label on one source, until the configuration changes it. */
        post: operations["set"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sign-in": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a code with which a browser signs in once. */
        post: operations["sign-in"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sign-out-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Ends the sessions of all browsers. */
        post: operations["sign-out-all"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/snooze": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Holds the alerts of a source or a label back for some time. */
        post: operations["snooze"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sources": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the sources: whether each delivers, what is wrong with it, and the newest score of each label. */
        get: operations["sources"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/suggest": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Suggests a threshold, a clear level and a hold for one label from its stored scores and marks, with the reason. */
        get: operations["suggest"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/support_bundle": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Makes a file for someone who helps: configuration without secrets, checks, metrics and log; no pictures and scores. */
        post: operations["support_bundle"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/system": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The state of the service: model, delivery, history, disk, sources, and what needs a person. */
        get: operations["system"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/timeline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists alerts and near misses together, the newest first. */
        get: operations["timeline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/try_source": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Opens a camera that is not configured yet, once, and answers with its picture or with what is wrong. */
        post: operations["try_source"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/try_words": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Scores the stored embeddings of a source with other words for one label, as the model would have scored them. */
        post: operations["try_words"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/watch-for": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Watches for words on one source until a time. */
        post: operations["watch-for"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/watches": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists the words that are watched for until a time. */
        get: operations["watches"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document. */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What the client may do. */
        get: operations["me"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts and scores as they happen, as server-sent events. */
        get: operations["events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/newest": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The newest picture of a source, small. */
        get: operations["newest"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/pictures/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The small picture of an alert, by the alert's `picture`. */
        get: operations["picture"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/search_picture": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Finds stored frames that are similar to the picture in the body, or to it and to words. */
        post: operations["search_picture"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/truth.csv": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Writes what marks say as the CSV file that `stakeout tune --truth` reads. */
        get: operations["truth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A problem document: the body of every answer that is an error. */
        Problem: {
            /** @description The title of the status. */
            title: string;
            /**
             * Format: uint16
             * @description The status of HTTP.
             */
            status: number;
            /** @description What is wrong. */
            detail: string;
            /** @description The parameter, key or file that is wrong. */
            where?: string | null;
            /** @description What to do. */
            remedy?: string | null;
        };
        /** @description Which entries are listed. */
        Request: {
            /** @description Only entries of the source with this name. */
            source?: string | null;
            /** @description Only entries of the label with this name; `set/label` names its label set, too. */
            label?: string | null;
            /**
             * Format: date-time
             * @description Only entries of frames that were captured at this time or later.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description Only entries of frames that were captured at this time or earlier.
             */
            until?: string | null;
            /**
             * Format: uint32
             * @description The most entries that are listed, from 1 to 10000; 100 if there is none.
             */
            limit?: number | null;
        };
        /** @description The alerts that were found. */
        Response: {
            /** @description The alerts, the newest first. */
            alerts: components["schemas"]["RememberedAlert"][];
        };
        /** @description An alert that the service remembers. */
        RememberedAlert: {
            /** @description The alert, as it was published. */
            alert: components["schemas"]["Alert"];
            /** @description Why it was raised or cleared, for people. */
            reason: string;
            /**
             * Format: double
             * @description The level below which the label was cleared, or would have been; `null` for a rule.
             */
            clear_below?: number | null;
            /** @description The address of its small picture, if it has one. */
            picture?: string | null;
            /** @description A person's verdict: `right` or `wrong`. */
            mark?: string | null;
        };
        /** @description A label was raised or cleared on a source: the JSON that was published over MQTT, field for field. */
        Alert: {
            /**
             * Format: uint32
             * @description The version of these fields.
             */
            version: number;
            /** @description A UUIDv7. */
            id: string;
            /** @description `raised` or `cleared`. */
            state: string;
            /**
             * Format: date-time
             * @description When the trigger changed.
             */
            time: string;
            /** @description The name of the source. */
            source: string;
            /** @description The region with this score; `null` is the whole frame. */
            region?: string | null;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label or of the rule over labels. */
            label: string;
            /**
             * Format: double
             * @description The score of the label from 0 to 1; `null` for a rule.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold of the label; `null` for a rule.
             */
            threshold?: number | null;
            /** @description Each label of the set with its score, and the background prompts as `background`. */
            scores: {
                [key: string]: unknown;
            };
            /** @description The model that scored. */
            model: string;
            /** @description The frame that changed the trigger. */
            frame: components["schemas"]["Frame"];
            /** @description The topic of the snapshot, if there is one. */
            snapshot?: string | null;
            /** @description The severity, if it is configured. */
            severity?: string | null;
            /** @description The message, if it is configured. */
            message?: string | null;
            /** @description The condition of a rule over labels. */
            when?: string | null;
            /**
             * Format: double
             * @description The score of the label on quiet frames, if it is learnt.
             */
            baseline?: number | null;
            /** @description The name of the service: `instance` in the configuration. */
            instance?: string | null;
            /** @description The area of the source, if it is configured. */
            area?: string | null;
            /** @description Where the source is, if it is configured. */
            location?: string | null;
        };
        /** @description The frame of an alert. */
        Frame: {
            /** @description Where the picture came from: a path, an address, a topic. */
            origin: string;
            /**
             * Format: date-time
             * @description When the picture was captured.
             */
            captured_at: string;
            /**
             * Format: uint32
             * @description Pixels from left to right.
             */
            width: number;
            /**
             * Format: uint32
             * @description Pixels from top to bottom.
             */
            height: number;
        };
        /** @description A question. */
        Request2: {
            /** @description The name of the source, as in the configuration. */
            source: string;
            /** @description The texts that are scored together, such as `the gate is open` and `the gate is closed`. */
            text: string[];
            /** @description The sentence around each text, with `{}` in its place; `This is a photo of {}.` if there is none. */
            template?: string | null;
        };
        /** @description The answer to a question. */
        Response2: {
            /** @description The name of the source. */
            source: string;
            /**
             * Format: date-time
             * @description When the frame was captured.
             */
            captured_at: string;
            /** @description Where the frame came from: a path, an address, a topic. */
            origin: string;
            /** @description The model that scored. */
            model: string;
            /** @description Each text with its score, the highest first. */
            scores: components["schemas"]["TextScore"][];
        };
        /** @description The score of one text. */
        TextScore: {
            /** @description The text. */
            text: string;
            /**
             * Format: float
             * @description Its score from 0 to 1, the highest of the regions of the source.
             */
            score: number;
            /** @description The region with this score; `null` is the whole frame. */
            region?: string | null;
        };
        /** @description A question about a picture. */
        Request3: {
            /** @description The picture, of any format that a folder may have, in base64. */
            picture: string;
            /** @description The texts that are scored together. */
            text: string[];
            /** @description The sentence around each text, with `{}` in its place; `This is a photo of {}.` if there is none. */
            template?: string | null;
        };
        /** @description The answer to a question. */
        Response3: {
            /** @description The model that scored. */
            model: string;
            /** @description Each text with its score, the highest first. */
            scores: components["schemas"]["TextScore"][];
        };
        /** @description Which one ends. */
        CancelRequest: {
            /**
             * Format: uint64
             * @description Its number.
             */
            id: number;
        };
        /** @description A temporary label. */
        Watched: {
            /**
             * Format: uint64
             * @description Its number.
             */
            id: number;
            /** @description The words, which are the name of the label. */
            text: string;
            /** @description The name of the source. */
            source: string;
            /** @description The name of its label set, which is in its alerts. */
            label_set: string;
            /**
             * Format: date-time
             * @description When it ends.
             */
            until: string;
            /** @description Whether it ends with its first alert. */
            once: boolean;
            /**
             * Format: float
             * @description The threshold.
             */
            threshold: number;
        };
        /** @description There is nothing to say. */
        Request4: Record<string, never>;
        /** @description The configuration. */
        Response4: {
            /** @description The main file. */
            path: string;
            /** @description Its text. */
            text: string;
            /** @description The tag of its content, which changes whenever the content does; empty if it cannot be read. A save names it. */
            tag: string;
            /** @description Whether passwords in the texts are replaced by `***`. */
            masked: boolean;
            /** @description Whether this client can save the main file. */
            editable: boolean;
            /** @description Why it cannot. */
            why_not?: string | null;
            /** @description What to do about that. */
            remedy?: string | null;
            /** @description The files of `rules.d` and `sources.d`, which are read as well and cannot be edited here. */
            included: components["schemas"]["Included"][];
            /** @description What the newest check of the service found. */
            state: components["schemas"]["ConfigState"];
        };
        /** @description A file that is read as well. */
        Included: {
            /** @description The file. */
            path: string;
            /** @description Its text. */
            text: string;
        };
        /** @description The state of the configuration. */
        ConfigState: {
            /** @description Whether the files are valid. While they are not, the valid configuration from before stays in force. */
            valid: boolean;
            /** @description Whether this is about the text of this answer: the service checks a changed file within two seconds. */
            current: boolean;
            /** @description What is wrong. */
            problems: components["schemas"]["ConfigProblem"][];
            /** @description Changed keys that take effect after a restart of the service. */
            after_restart: string[];
        };
        /** @description A mistake in a file of the configuration. */
        ConfigProblem: {
            /** @description The file. */
            file: string;
            /** @description Whether it is the main file. */
            is_main: boolean;
            /**
             * Format: uint
             * @description The line, from 1; `null` for the file as a whole.
             */
            line?: number | null;
            /**
             * Format: uint
             * @description The first character in the line, from 1.
             */
            column?: number | null;
            /**
             * Format: uint
             * @description The number of characters in the line.
             */
            length?: number | null;
            /** @description What is wrong. */
            message: string;
            /** @description What to do; it may have several lines, or be empty. */
            remedy: string;
            /** @description The problem as `stakeout check` prints it, with the line and a caret. */
            shown: string;
        };
        /** @description The text. */
        Request5: {
            /** @description The text in place of the main file, at most 1 MiB. */
            text: string;
        };
        /** @description What is wrong with it. */
        Response5: {
            /** @description Whether it is a valid configuration. */
            valid: boolean;
            /** @description What is wrong, in the order of the files and lines. No value of a reference such as `${credential:mqtt}` is in it. */
            problems: components["schemas"]["ConfigProblem"][];
        };
        /** @description The changes. */
        Request6: {
            /** @description What changes, in this order; all in one file. */
            changes: components["schemas"]["Change"][];
            /**
             * @description Whether the new text is saved at once. If that is not possible, the answer says why and has the lines to paste.
             * @default false
             */
            save: boolean;
            /**
             * @description The tag of the main file that the client has seen (`config`); a save is refused if the file has changed since. Without
             *     it, the changes are made in the file as it is now.
             */
            tag?: string | null;
        };
        /** @description One change. */
        Change: {
            /** @constant */
            kind: "set_label";
            /** @description The source on which they hold; in the label set if there is none. */
            source?: string | null;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label. */
            label: string;
            /** @description Keys and values as in the file, such as `{"threshold": 0.6, "hold": "2 of 3", "prompts": ["a dog"]}`. */
            settings: {
                [key: string]: unknown;
            };
        } | {
            /** @constant */
            kind: "add_label";
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the new label. */
            label: string;
            /**
             * @description Its settings; none if there are none.
             * @default {}
             */
            settings: {
                [key: string]: unknown;
            };
        } | {
            /** @constant */
            kind: "add_label_set";
            /** @description The name of the new label set. */
            label_set: string;
            /** @description Its settings as in the file, such as `{"background": ["an empty yard"], "labels": {"fox": 0.5}}`. */
            settings: {
                [key: string]: unknown;
            };
        } | {
            /** @constant */
            kind: "add_source";
            /** @description The name of the new source. */
            source: string;
            /** @description Its settings as in the file, such as `{"rtsp": "rtsp://camera/stream", "watch": ["porch"]}`. */
            settings: {
                [key: string]: unknown;
            };
        } | {
            /** @constant */
            kind: "watch";
            /** @description The name of the source. */
            source: string;
            /** @description The name of the label set. */
            label_set: string;
        };
        /** @description The new text. */
        Response6: {
            /** @description The file that changes. */
            path: string;
            /** @description Its whole new text. */
            text: string;
            /** @description Whether passwords in the texts are replaced by `***`. */
            masked: boolean;
            /** @description What changes in the file, for people who make the change themselves. */
            lines: components["schemas"]["Lines"];
            /** @description What is wrong with the new text. An invalid text is not saved. */
            problems: components["schemas"]["ConfigProblem"][];
            /** @description Whether it was saved. */
            saved: boolean;
            /** @description The tag of the main file now. */
            tag: string;
            /** @description Why it was not, or could not be, saved. */
            why_not?: string | null;
            /** @description What to do about that. */
            remedy?: string | null;
        };
        /** @description Lines of a file that are replaced by others. */
        Lines: {
            /**
             * Format: uint
             * @description The first line that is replaced, from 1; or the line before which new lines are added.
             */
            first: number;
            /** @description The lines as they are; empty if lines are only added. */
            before: string;
            /** @description The new lines. */
            after: string;
        };
        /** @description The text. */
        Request7: {
            /** @description The text in place of the main file, at most 1 MiB. */
            text: string;
        };
        /** @description What a save would do, compared with what is in force. */
        Response7: {
            /** @description Whether the text is a valid configuration. If it is not, nothing else is known. */
            valid: boolean;
            /** @description What is wrong with it. */
            problems: components["schemas"]["ConfigProblem"][];
            /** @description Whether anything would change. */
            changes: boolean;
            /** @description The sources that would start, stop or change. */
            sources: components["schemas"]["SourceChange"][];
            /** @description The label sets, labels and rules that would change. */
            labels: components["schemas"]["LabelChange"][];
            /** @description Other keys that would change. */
            keys: components["schemas"]["KeyChange"][];
            /** @description Keys that would take effect only after a restart of the service. */
            after_restart: string[];
            /** @description Keys whose change is refused here: they name programs and libraries that the service runs. */
            refused: string[];
        };
        /** @description A source that would change. */
        SourceChange: {
            /** @description Its name. */
            source: string;
            /** @description What would happen to it. */
            effect: components["schemas"]["SourceAction"];
        };
        /** @description What would happen to a source. */
        SourceAction: "starts" | "stops" | "restarts" | "changes";
        /** @description A label set, or a label or rule in it, that would change. */
        LabelChange: {
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label or rule; `null`: settings of the label set itself. */
            label?: string | null;
            /** @description The source on which it is different; `null`: everywhere. */
            source?: string | null;
            /** @description What would happen to it. */
            effect: components["schemas"]["LabelAction"];
            /** @description The settings that would change. */
            settings: components["schemas"]["SettingChange"][];
        };
        /** @description What would happen to a label. */
        LabelAction: "added" | "removed" | "changed";
        /** @description A setting that would change. */
        SettingChange: {
            /** @description Its key. */
            key: string;
            /** @description The value before; `null` if there was none. */
            before: unknown;
            /** @description The value after; `null` if there is none. */
            after: unknown;
        };
        /** @description A key of the main file that would change. */
        KeyChange: {
            /** @description The key. */
            key: string;
            /** @description Whether it takes effect only after a restart of the service. */
            after_restart: boolean;
        };
        /** @description The text, and the tag of the text that it replaces. */
        Request8: {
            /** @description The new text of the main file, at most 1 MiB. */
            text: string;
            /** @description The tag of the file as the client has read it. */
            tag: string;
        };
        /** @description The text is saved. */
        Response8: {
            /** @description The tag of the new file. */
            tag: string;
            /** @description Whether the service has read the new file already. If it has not, it will do so soon. */
            checked: boolean;
            /** @description What the service found wrong with it nevertheless: another file may have changed meanwhile. */
            problems: components["schemas"]["ConfigProblem"][];
            /** @description Changed keys that take effect after a restart of the service. */
            after_restart: string[];
        };
        /** @description Which version. */
        Request9: {
            /** @description Its name. */
            id: string;
        };
        /** @description The text of a version. */
        Response9: {
            /** @description Its name. */
            id: string;
            /** @description Its text. */
            text: string;
            /** @description Whether passwords in it are replaced by `***`. */
            masked: boolean;
        };
        /** @description There is nothing to say. */
        ListRequest: Record<string, never>;
        /** @description The earlier versions. A save keeps the text that it replaces: up to 50 of them, and 5 MB. */
        List: {
            /** @description The versions, the newest first. */
            versions: components["schemas"]["Version"][];
        };
        /** @description An earlier version. */
        Version: {
            /** @description Its name. */
            id: string;
            /**
             * Format: date-time
             * @description When it was replaced.
             */
            replaced_at: string;
            /**
             * Format: uint64
             * @description Its size in bytes.
             */
            size: number;
        };
        /** @description There is nothing to say. */
        ListRequest2: Record<string, never>;
        /** @description What is set. */
        List2: {
            /** @description In the order in which it was set. */
            controls: components["schemas"]["SetValue"][];
        };
        /** @description A setting that was changed while the service runs. */
        SetValue: {
            /** @description The name of the source. */
            source: string;
            /** @description The label set; absent for a setting of the source. */
            label_set?: string | null;
            /** @description The label or the rule; absent for a setting of the source. */
            label?: string | null;
            /** @description Which setting it is. */
            setting: components["schemas"]["SettingKind"];
            /** @description The value, for people: `false`, `0.7`, `until 2026-11-28 07:00`. */
            value: string;
            /** @description The value in the configuration; absent for a snooze. */
            file?: string | null;
            /**
             * Format: date-time
             * @description When a snooze ends.
             */
            until?: string | null;
            /** @description Who set it. */
            by: components["schemas"]["SetBy"];
            /**
             * Format: date-time
             * @description When it was set.
             */
            at: string;
            /** @description All of it for people: `threshold 0.7, set over MQTT at 2026-11-27 10:00; 0.6 in the file`. */
            sentence: string;
        };
        /** @description Which setting of a source or a label it is. */
        SettingKind: "enabled" | "threshold" | "snooze";
        /** @description Who set a value. */
        SetBy: "mqtt" | "api" | "console" | "command";
        /** @description What is switched. */
        Request10: {
            /** @description The name of the source. */
            source: string;
            /** @description The label or the rule, as `set/label`; the label alone, if the source has it in one label set. Without it, the source. */
            label?: string | null;
            /**
             * @description The caller; `api` if it is absent.
             * @default api
             */
            by: components["schemas"]["SetBy"];
        };
        /** @description What a request has changed. */
        Response10: {
            /** @description The setting as it is now; absent if it has the value of the configuration. */
            set?: components["schemas"]["SetValue"] | null;
            /** @description Whether this is different from what was set before. */
            changed: boolean;
        };
        /** @description There is nothing to say. */
        Request11: Record<string, never>;
        /** @description The result of the checks. */
        Response11: {
            /**
             * Format: date-time
             * @description When they had ended.
             */
            at: string;
            /** @description Every check, in the order of `stakeout doctor`. */
            checks: components["schemas"]["Check"][];
        };
        /** @description One check: what was checked, its state, and what to do. */
        Check: {
            /** @description What was checked. */
            check: string;
            /** @description How it is. */
            state: components["schemas"]["CheckState"];
            /** @description What was found. */
            what: string;
            /** @description What to do; `null` if nothing is wrong. */
            remedy?: string | null;
        };
        /** @description The state of what was checked. */
        CheckState: "ok" | "warning" | "problem";
        /** @description Which entry is shown. */
        Request12: {
            /** @description The identifier of an alert or of a near miss. */
            id: string;
        };
        /** @description What is stored of an entry. */
        Response12: {
            /** @description The entry, as `timeline` lists it. */
            entry: components["schemas"]["Entry"];
            /** @description The alert, as it was published; `null` for a near miss. */
            alert?: components["schemas"]["Alert"] | null;
            /** @description Every label of the source on the same frame, as `explain` shows them; empty if the scores of this frame are not stored. */
            labels: components["schemas"]["ExplainedLabel"][];
            /** @description Stored pictures of the source within a minute, in the order of their times. */
            pictures: components["schemas"]["PictureAround"][];
            /** @description The scores of the label in stored frames within a minute, in the order of their times; empty for a rule. */
            scores: components["schemas"]["ScoreAround"][];
        };
        /** @description A moment in which a label was raised, or nearly. */
        Entry: {
            /** @description A UUIDv7. */
            id: string;
            /** @description `raised`, `cleared` or `near_miss`. */
            state: string;
            /**
             * Format: date-time
             * @description When its frame was captured.
             */
            captured_at: string;
            /**
             * Format: date-time
             * @description When the label was cleared again; `null` while it is raised, of a near miss, and if it is not stored.
             */
            cleared_at?: string | null;
            /** @description The name of the source. */
            source: string;
            /** @description The region with this score; `null` is the whole frame, or a rule. */
            region?: string | null;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label or of the rule over labels. */
            label: string;
            /** @description The condition of a rule over labels; `null` for a label, and of a near miss. */
            when?: string | null;
            /**
             * Format: double
             * @description The score of the label from 0 to 1; `null` for a rule.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold at that time; `null` for a rule.
             */
            threshold?: number | null;
            /**
             * Format: double
             * @description The level below which the label is cleared; `null` for a rule, and of a near miss.
             */
            clear_below?: number | null;
            /**
             * Format: double
             * @description The score of the label on quiet frames, if it was learnt.
             */
            baseline?: number | null;
            /** @description The severity, if it is configured. */
            severity?: string | null;
            /** @description The message, if it is configured. */
            message?: string | null;
            /** @description What held a near miss back. */
            held_by?: components["schemas"]["Gate"] | null;
            /** @description Why the label was raised, or what held it back, for people. */
            reason: string;
            /** @description The address of its small picture, if it has one. */
            picture?: string | null;
            /** @description A person's verdict: `right` or `wrong`. */
            mark?: string | null;
        };
        /** @description What keeps a label from being raised. */
        Gate: {
            /** @constant */
            gate: "enabled";
        } | {
            /** @constant */
            gate: "threshold";
        } | {
            /** @constant */
            gate: "baseline";
            /**
             * Format: uint32
             * @description At least this number of quiet frames is missing ...
             */
            frames: number;
            /**
             * Format: double
             * @description ... and they must cover this time (seconds in JSON).
             */
            left: number;
        } | {
            /** @constant */
            gate: "active";
            /** @description The hours, as they are typed. */
            active: string;
        } | {
            /** @constant */
            gate: "hold";
            /**
             * Format: uint8
             * @description This number agrees.
             */
            seen: number;
            /**
             * Format: uint8
             * @description This number must agree ...
             */
            frames: number;
            /**
             * Format: uint8
             * @description ... of this number of newest frames.
             */
            of: number;
        } | {
            /** @constant */
            gate: "for";
            /**
             * Format: double
             * @description For this much longer (seconds in JSON).
             */
            left: number;
        } | {
            /** @constant */
            gate: "cooldown";
            /**
             * Format: double
             * @description For this much longer (seconds in JSON).
             */
            left: number;
        } | {
            /** @constant */
            gate: "regions";
            /**
             * Format: float
             * @description The highest score in the regions that count.
             */
            here: number;
            /**
             * Format: float
             * @description The highest score in the other regions.
             */
            elsewhere: number;
            /** @description The region with that score. */
            region?: string | null;
        } | {
            /** @constant */
            gate: "condition";
            /** @description Labels that are absent and must be present. */
            missing: string[];
            /** @description Labels that are present and must be absent. */
            present: string[];
            /** @description Labels that are not known yet to be present or absent. */
            unknown: string[];
        } | {
            /** @constant */
            gate: "snooze";
            /** @description Until this time. */
            until: string;
        };
        /** @description What was made of a label, or of a rule over labels. */
        ExplainedLabel: {
            /** @description The label set. */
            label_set: string;
            /** @description The label or the rule. */
            label: string;
            /** @description The condition of a rule. */
            when?: string | null;
            /**
             * Format: float
             * @description The score that the trigger received, 0 to 1; absent for a rule.
             */
            score?: number | null;
            /** @description The region with this score; absent for the whole frame. */
            region?: string | null;
            /**
             * Format: float
             * @description A frame with at least this score counts for the label; absent for a rule, and while a baseline is not known.
             */
            threshold?: number | null;
            /**
             * Format: float
             * @description A raised label is cleared below this score.
             */
            clear_below?: number | null;
            /**
             * Format: float
             * @description The usual score while the label is absent, if it is learnt.
             */
            baseline?: number | null;
            /** @description Whether the label is raised after the frame. */
            raised: boolean;
            /**
             * Format: date-time
             * @description When it was raised, if it is.
             */
            raised_since?: string | null;
            /** @description The gate that keeps it from being raised. */
            held_by?: components["schemas"]["Gate"] | null;
            /** @description The same for people: `hold: 1 of 2 so far`. */
            reason?: string | null;
            /** @description Further gates that hold. */
            also_held_by: components["schemas"]["Gates"];
            /** @description The gates that let the frame through. */
            passed: components["schemas"]["Gates"];
            /** @description What was set for the label or its source while the service runs, instead of the value in the configuration. */
            set?: components["schemas"]["SetValue"][];
        };
        /** @description A set of gates. In JSON it is a list of their words, in order. */
        Gates: components["schemas"]["GateKind"][];
        /** @description One of the conditions that a frame must meet before its label is raised. In the order in which they are named to people. */
        GateKind: "enabled" | "baseline" | "regions" | "threshold" | "condition" | "active" | "snooze" | "hold" | "for" | "cooldown";
        /** @description A stored picture before or after an entry. */
        PictureAround: {
            /**
             * Format: date-time
             * @description When it was captured.
             */
            captured_at: string;
            /** @description Its address. */
            picture: string;
            /**
             * Format: float
             * @description The score of the label in this frame, if it is stored.
             */
            score?: number | null;
        };
        /** @description The score of a label in a frame. */
        ScoreAround: {
            /**
             * Format: date-time
             * @description When the frame was captured.
             */
            captured_at: string;
            /**
             * Format: float
             * @description The score from 0 to 1.
             */
            score: number;
        };
        /** @description What is asked. */
        Request13: {
            /** @description The name of the source. */
            source: string;
            /** @description Only labels of this label set. */
            label_set?: string | null;
            /** @description Only this label. */
            label?: string | null;
            /**
             * Format: date-time
             * @description The moment in the past; without it, the newest frame.
             */
            at?: string | null;
        };
        /** @description The answer. */
        Response13: {
            /** @description The name of the source. */
            source: string;
            /** @description Where the answer comes from. */
            from: components["schemas"]["Origin"];
            /** @description Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off. Only the running service knows. */
            status?: string | null;
            /** @description Why the source delivers no frames. */
            problem?: components["schemas"]["SourceProblem"] | null;
            /** @description What was set for the source while the service runs, instead of the value in the configuration. */
            set?: components["schemas"]["SetValue"][];
            /** @description The frame that is explained; absent if none was scored. */
            frame?: components["schemas"]["ExplainedFrame"] | null;
            /** @description The labels and rules, in the order of the configuration. */
            labels: components["schemas"]["ExplainedLabel"][];
        };
        /** @description Where an answer comes from. */
        Origin: "service" | "history" | "picture";
        /** @description Why a source delivers no frames. */
        SourceProblem: {
            /** @description The cause, for people. */
            cause: string;
            /**
             * Format: date-time
             * @description When the source failed for the first time since it was well.
             */
            since: string;
            /** @description What to do about it. */
            remedy: string;
        };
        /** @description The frame that is explained. */
        ExplainedFrame: {
            /**
             * Format: date-time
             * @description When it was captured.
             */
            captured_at: string;
            /**
             * Format: date-time
             * @description When its picture was captured for the first time: frames that show the same picture repeat its scores.
             */
            scored_at: string;
        };
        /** @description What is to be forgotten. */
        Request14: {
            /** @description The name of the source. It need not be configured any more. */
            source: string;
            /**
             * Format: date-time
             * @description The first moment.
             */
            from: string;
            /**
             * Format: date-time
             * @description The last moment.
             */
            to: string;
            /** @description Only what belongs to this label. */
            label?: string | null;
        };
        /** @description What was deleted. */
        Response14: {
            /** @description How many entries of each kind. */
            entries: {
                [key: string]: number;
            };
            /**
             * Format: uint64
             * @description How many files that were set aside because they are damaged. What they contain is unknown.
             */
            damaged_files: number;
        };
        /** @description A verdict on an alert or a near miss (`id`), or on a moment (`source`, `label` and `at`). */
        Request15: {
            /** @description The identifier of an alert or a near miss, or the end of it: 6 characters or more. */
            id?: string | null;
            /** @description The name of the source of a moment. */
            source?: string | null;
            /** @description The label of a moment, as `set/label`; the label alone, if the history has it in one label set of this source. */
            label?: string | null;
            /**
             * Format: date-time
             * @description The time of a moment.
             */
            at?: string | null;
            /** @description `right` if the label was in view, `wrong` if it was not; `undo` removes the mark. */
            verdict: components["schemas"]["Choice"];
        };
        /** @description What a person says. */
        Choice: "right" | "wrong" | "undo";
        /** @description What is marked now. */
        Response15: {
            /** @description `alert`, `near_miss` or `moment`. */
            kind: string;
            /** @description The identifier of the alert or the near miss. */
            id?: string | null;
            /** @description The name of the source. */
            source: string;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label. */
            label: string;
            /**
             * Format: date-time
             * @description When the frame was captured.
             */
            captured_at: string;
            /**
             * Format: double
             * @description The score, if it is known.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold at that time, if it is known.
             */
            threshold?: number | null;
            /** @description The verdict, `right` or `wrong`; `null` after `undo`. */
            mark?: string | null;
        };
        /** @description The marks that were found. */
        ListResponse: {
            /** @description The number of marks of each label. */
            counts: components["schemas"]["Count"][];
            /** @description The marks, the newest moments first. */
            marks: components["schemas"]["Marked"][];
        };
        /** @description The number of marks of a label. */
        Count: {
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label. */
            label: string;
            /**
             * Format: uint64
             * @description How many say that it was in view.
             */
            right: number;
            /**
             * Format: uint64
             * @description How many say that it was not.
             */
            wrong: number;
        };
        /** @description Something that a person may mark. */
        Marked: {
            /** @description `alert`, `near_miss` or `moment`. */
            kind: string;
            /** @description The identifier of the alert or the near miss. */
            id?: string | null;
            /** @description The name of the source. */
            source: string;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label. */
            label: string;
            /**
             * Format: date-time
             * @description When the frame was captured.
             */
            captured_at: string;
            /**
             * Format: double
             * @description The score, if it is known.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold at that time, if it is known.
             */
            threshold?: number | null;
            /** @description The verdict, `right` or `wrong`; `null` after `undo`. */
            mark?: string | null;
        };
        /** @description The near misses that were found. */
        Response16: {
            /** @description The near misses, the newest first. */
            near_misses: components["schemas"]["NearMiss"][];
        };
        /** @description A moment that nearly raised a label. */
        NearMiss: {
            /** @description A UUIDv7. */
            id: string;
            /**
             * Format: date-time
             * @description When its frame was captured.
             */
            captured_at: string;
            /** @description The name of the source. */
            source: string;
            /** @description The region with this score; `null` is the whole frame, or a rule. */
            region?: string | null;
            /** @description The name of the label set. */
            label_set: string;
            /** @description The name of the label or of the rule over labels. */
            label: string;
            /**
             * Format: double
             * @description The score of the label from 0 to 1; `null` for a rule.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold at that time; `null` for a rule.
             */
            threshold?: number | null;
            /**
             * Format: double
             * @description The score of the label on quiet frames, if it was learnt.
             */
            baseline?: number | null;
            /** @description What held the label back. */
            held_by: components["schemas"]["Gate"];
            /** @description What held the label back, for people. */
            reason: string;
            /** @description The address of its small picture, if it has one. */
            picture?: string | null;
            /** @description A person's verdict: `right` if the label was in view, else `wrong`. */
            mark?: string | null;
        };
        /** @description Which label, when, and the settings that are tried. Settings that are not named stay as they were at each time. */
        Request16: {
            /** @description The name of the source. */
            source: string;
            /** @description The label set. */
            label_set: string;
            /** @description The label or the rule. */
            label: string;
            /**
             * Format: date-time
             * @description The first moment.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description The last moment.
             */
            until?: string | null;
            /**
             * Format: double
             * @description Another threshold.
             */
            threshold?: number | null;
            /**
             * Format: double
             * @description Another clear level. A clear level that was not configured follows the threshold.
             */
            clear_below?: number | null;
            /**
             * Format: double
             * @description Another rise over the baseline, instead of a threshold.
             */
            rise?: number | null;
            /**
             * Format: double
             * @description Another clear level as a rise over the baseline.
             */
            clear_rise?: number | null;
            /** @description The frames that must agree, such as `2 of 3`. */
            hold?: string | null;
            /** @description How long they must agree, such as `5s`. */
            for?: string | null;
            /** @description The time after a raise without another one, such as `5m`. */
            cooldown?: string | null;
            /** @description The hours in which the label may be raised, such as `22:00-06:00`; `always` removes them. */
            active?: string[];
            /**
             * Format: uint32
             * @description The most alerts that are listed, from 1 to 1000; 60 if there is none. The counts are of all alerts.
             */
            limit?: number | null;
        };
        /** @description The answer. The counts of verdicts and of differences are of the newest 20,000 alerts. */
        Response17: {
            /**
             * Format: uint64
             * @description The number of frames with a score of the label.
             */
            scores: number;
            /**
             * Format: uint64
             * @description The number of places in which frames are missing.
             */
            gaps: number;
            /**
             * Format: uint64
             * @description The number of damaged parts of the history, which are left out.
             */
            damaged: number;
            /** @description The settings that were in force at the newest frame. */
            settings: components["schemas"]["Settings"];
            /** @description The same with the settings that are tried. */
            tried: components["schemas"]["Settings"];
            /** @description The alerts of the service. */
            now: components["schemas"]["Alerts"];
            /** @description The alerts with the settings that are tried. */
            then: components["schemas"]["Alerts"];
            /** @description The alerts that only the settings that are tried raise. */
            new: components["schemas"]["Verdicts"];
            /** @description The alerts of the service that are lost: with the settings that are tried the label is raised at no time of them. */
            lost: components["schemas"]["Verdicts"];
            /** @description The alerts with the settings that are tried, the newest first. */
            alerts: components["schemas"]["TriedAlert"][];
            /** @description The alerts of the service that are lost, the newest first. */
            lost_alerts: components["schemas"]["TriedAlert"][];
        };
        /** @description The settings of a trigger. */
        Settings: {
            /**
             * Format: double
             * @description `threshold`, or `rise`; `null` for a rule over labels.
             */
            threshold?: number | null;
            /**
             * Format: double
             * @description `clear_below`, or `clear_rise`; `null` for a rule over labels.
             */
            clear_below?: number | null;
            /** @description Whether the levels are rises over a baseline. */
            rises: boolean;
            /** @description Whether the source learns a baseline, which a rise needs. */
            has_baseline: boolean;
            /** @description `hold`: the frames that must agree, such as `2 of 3`. */
            hold: string;
            /** @description `for`: how long they must agree, such as `5s`. */
            for: string;
            /** @description `cooldown`, such as `5m`. */
            cooldown: string;
            /** @description `active`: the hours; empty: always. */
            active: string[];
        };
        /** @description How many alerts there are, what people said about them, and when the label was raised. */
        Alerts: {
            /**
             * Format: uint64
             * @description How often the label was raised.
             */
            alerts: number;
            /**
             * Format: uint64
             * @description Marked as right.
             */
            right: number;
            /**
             * Format: uint64
             * @description Marked as wrong.
             */
            wrong: number;
            /**
             * Format: uint64
             * @description Without a mark.
             */
            unmarked: number;
            /** @description The times in which it was raised, in milliseconds since 1970; at most 2000, the newest ones. */
            spans: number[][];
        };
        /** @description What people said about some alerts. */
        Verdicts: {
            /**
             * Format: uint64
             * @description Marked as right.
             */
            right: number;
            /**
             * Format: uint64
             * @description Marked as wrong.
             */
            wrong: number;
            /**
             * Format: uint64
             * @description Without a mark.
             */
            unmarked: number;
        };
        /** @description An alert of the service, or one that the settings that are tried would have raised. */
        TriedAlert: {
            /**
             * Format: date-time
             * @description When the frame that raises the label was captured.
             */
            time: string;
            /**
             * Format: date-time
             * @description When the label was cleared; `null` if it is still raised at the end.
             */
            cleared?: string | null;
            /**
             * Format: double
             * @description The score that raised it; `null` for a rule.
             */
            score?: number | null;
            /**
             * Format: double
             * @description The threshold at that time; `null` for a rule.
             */
            threshold?: number | null;
            /** @description Whether the service raised it, too. */
            difference: components["schemas"]["DifferenceWord"];
            /** @description The identifier of the alert that the service raised, if it is stored. */
            id?: string | null;
            /** @description The address of a small picture, if one is stored. */
            picture?: string | null;
            /** @description A person's verdict: `right` or `wrong`. */
            mark?: string | null;
        };
        /** @description What became of an alert. */
        DifferenceWord: "kept" | "new" | "lost";
        /** @description What is asked. */
        Request17: {
            /** @description Only this source. */
            source?: string | null;
            /**
             * Format: date-time
             * @description The first moment.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description The last moment.
             */
            until?: string | null;
            /** @description Settings that are tried, such as `yard/person.threshold=0.55`. */
            set?: string[];
            /**
             * @description Leave the alerts out: only their numbers are wanted.
             * @default false
             */
            counts_only: boolean;
        };
        /** @description The answer. */
        Response18: {
            /** @description The alerts with these settings. They have no region, and no size of the frame: these are not stored with scores. */
            alerts: components["schemas"]["Alert"][];
            /** @description How often each label was raised. */
            counts: components["schemas"]["LabelCount"][];
            /**
             * Format: uint64
             * @description The number of frames that were judged.
             */
            frames: number;
            /**
             * Format: uint64
             * @description The number of places in which frames are missing.
             */
            gaps: number;
            /**
             * Format: uint64
             * @description The number of damaged parts of the history, which are left out.
             */
            damaged: number;
        };
        /** @description How often a label was raised. */
        LabelCount: {
            /** @description The source. */
            source: string;
            /** @description The label set. */
            label_set: string;
            /** @description The label or the rule. */
            label: string;
            /**
             * Format: uint64
             * @description How often the service raised it.
             */
            now: number;
            /**
             * Format: uint64
             * @description How often it is raised with the settings that are tried.
             */
            then: number;
        };
        /** @description There is nothing to say. */
        Request18: Record<string, never>;
        /** @description Which scores are read. */
        Request19: {
            /** @description The name of the source. */
            source: string;
            /** @description Only labels of this label set. */
            label_set?: string | null;
            /** @description Only this label. */
            label?: string | null;
            /**
             * Format: date-time
             * @description The first moment; without it, the first stored frame.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description The last moment; without it, the newest stored frame.
             */
            until?: string | null;
            /**
             * Format: uint32
             * @description The most points of each label, from 1 to 2000; 500 if there is none. Answers with very many labels have fewer.
             */
            points?: number | null;
        };
        /** @description The scores that were read. */
        Response19: {
            /** @description The name of the source. */
            source: string;
            /**
             * Format: date-time
             * @description About the first stored frame in the range; absent if none is stored.
             */
            first?: string | null;
            /**
             * Format: date-time
             * @description About the last stored frame in the range.
             */
            last?: string | null;
            /**
             * @description The labels: those that are watched now in the order of the configuration, then those that only were watched. Rules have no
             *     scores.
             */
            labels: components["schemas"]["LabelScores"][];
            /** @description Times without frames: the last frame before and the first frame after, in milliseconds since 1970. */
            gaps: number[][];
            /**
             * Format: uint64
             * @description The number of frames in the range.
             */
            frames: number;
            /**
             * Format: uint64
             * @description The number of damaged parts of the history, which are left out.
             */
            damaged: number;
        };
        /** @description The scores of a label. */
        LabelScores: {
            /** @description The label set. */
            label_set: string;
            /** @description The label. */
            label: string;
            /** @description The levels and settings that are in force now; absent for a label that is no longer watched. */
            levels_now?: components["schemas"]["LevelsNow"] | null;
            /**
             * @description Each point: when its first frame was captured (milliseconds since 1970), the lowest score, the highest score, and the score of its
             *     last frame.
             */
            points: [
                number,
                number,
                number,
                number
            ][];
        };
        /** @description The levels of a label, and the settings of its trigger. */
        LevelsNow: {
            /**
             * Format: double
             * @description A frame with at least this score counts for the label; absent while a baseline is not known.
             */
            threshold?: number | null;
            /**
             * Format: double
             * @description A raised label is cleared below this score; absent while a baseline is not known.
             */
            clear_below?: number | null;
            /**
             * Format: double
             * @description The usual score while the label is absent, if it is learnt.
             */
            baseline?: number | null;
            /**
             * Format: double
             * @description The setting `threshold`, or `rise` if the levels are rises over the baseline.
             */
            set_threshold: number;
            /**
             * Format: double
             * @description The setting `clear_below`, or `clear_rise`.
             */
            set_clear_below: number;
            /** @description Whether the levels are rises over the baseline. */
            rises: boolean;
            /**
             * Format: uint8
             * @description The setting `hold`: this number of frames must agree ...
             */
            hold_frames: number;
            /**
             * Format: uint8
             * @description ... of this number of newest frames.
             */
            hold_of: number;
            /**
             * Format: double
             * @description The setting `for`, in seconds.
             */
            for_s: number;
            /**
             * Format: double
             * @description The setting `cooldown`, in seconds.
             */
            cooldown_s: number;
        };
        /** @description What to search for, and where. */
        Request20: {
            /** @description The words, such as `a dog at the gate`. They may be left out if frames are to be similar to a picture or to a stored frame. */
            text?: string;
            /** @description The source of the stored frame that frames are to be similar to. */
            like_source?: string | null;
            /**
             * Format: date-time
             * @description When that frame was captured.
             */
            like_at?: string | null;
            /** @description The region of that frame; the whole frame if there is none. */
            like_region?: string | null;
            /** @description Only frames of the source with this name. */
            source?: string | null;
            /**
             * Format: date-time
             * @description Only frames that were captured at this time or later.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description Only frames that were captured before this time.
             */
            until?: string | null;
            /**
             * Format: uint32
             * @description The number of results at most, from 1 to 1000; 20 if there is none.
             */
            top?: number | null;
        };
        /** @description What was found. */
        Response20: {
            /** @description The events that were found, the best first. */
            matches: components["schemas"]["Match"][];
            /**
             * Format: float
             * @description The lift that chance alone reaches in one of twenty searches. Matches below it are probably wrong.
             */
            line: number;
            /** @description The model that the frames were searched with. */
            model: string;
            /**
             * Format: uint64
             * @description The number of stored embeddings that were searched.
             */
            embeddings: number;
            /**
             * Format: uint
             * @description The number of sources that they are of.
             */
            sources: number;
            /**
             * Format: date-time
             * @description The first stored frame of these sources.
             */
            first?: string | null;
            /**
             * Format: date-time
             * @description The last stored frame of these sources.
             */
            last?: string | null;
            /**
             * Format: uint64
             * @description The number of stored embeddings of other models, which could not be searched.
             */
            embeddings_of_other_models: number;
            /**
             * Format: uint64
             * @description The number of stored pictures that the model has not embedded yet. The service does so while the model is idle, after a change of
             *     `model` for example, and a later search finds them.
             * @default 0
             */
            pictures_to_embed: number;
        };
        /** @description An event that was found: frames of one source that follow each other and are similar. */
        Match: {
            /** @description The name of the source. */
            source: string;
            /** @description The region in which it was found; `null` is the whole frame. */
            region?: string | null;
            /**
             * Format: date-time
             * @description When the best frame was captured.
             */
            time: string;
            /**
             * Format: date-time
             * @description The first frame of the event that was found.
             */
            first: string;
            /**
             * Format: date-time
             * @description The last frame of the event that was found.
             */
            last: string;
            /**
             * Format: float
             * @description By how much the best frame is more similar than usual for this source, in standard deviations.
             */
            lift: number;
            /**
             * Format: float
             * @description The similarity of the best frame: a cosine.
             */
            similarity: number;
            /** @description The lift is above the line. */
            likely: boolean;
            /** @description The address of a small picture of the event, if one is stored. */
            picture?: string | null;
        };
        /** @description What is set. */
        Request21: {
            /** @description The name of the source. */
            source: string;
            /** @description The label, as `set/label`; the label alone, if the source has it in one label set. */
            label: string;
            /**
             * Format: float
             * @description The threshold, above 0 and up to 1; for a label with a `rise`, the rise. The value of the configuration ends the change.
             */
            threshold: number;
            /**
             * @description The caller; `api` if it is absent.
             * @default api
             */
            by: components["schemas"]["SetBy"];
        };
        /** @description What the browser is to be allowed. */
        Request22: {
            /**
             * @description What the browser may do.
             * @default change
             */
            role: components["schemas"]["Role"];
        };
        /** @description What a client may do. The later role includes the earlier one. */
        Role: "view" | "change";
        /** @description A code, and where the console is. */
        Response21: {
            /** @description The code. The link is the address of the console with `#sign-in=CODE`. */
            code: string;
            /** @description What the browser may do. */
            role: components["schemas"]["Role"];
            /**
             * Format: date-time
             * @description The code is valid until then.
             */
            until: string;
            /** @description Where the service listens; absent if it does not. */
            listens?: components["schemas"]["Listens"] | null;
        };
        /** @description Where a service listens. */
        Listens: {
            /** @description Its address and port. */
            address: string;
            /** @description Whether it speaks TLS there. */
            tls: boolean;
            /** @description The address that people use instead, `listen.base_url`. */
            base_url?: string | null;
        };
        /** @description The request to end every session. It has no fields. */
        SignOutAll: Record<string, never>;
        /** @description What was ended. */
        SignedOut: {
            /**
             * Format: uint64
             * @description How many sessions.
             */
            sessions: number;
        };
        /** @description What is snoozed, and for how long. */
        Request23: {
            /** @description The name of the source. */
            source: string;
            /** @description The label or the rule, as `set/label`; the label alone, if the source has it in one label set. Without it, all of the source. */
            label?: string | null;
            /** @description `1h`, `until 07:00` (the next time at which the clock of the service shows it), or `off`. */
            for: string;
            /**
             * @description The caller; `api` if it is absent.
             * @default api
             */
            by: components["schemas"]["SetBy"];
        };
        /** @description Which sources are listed. */
        Request24: {
            /** @description Only the sources with these names. */
            sources?: string[];
        };
        /** @description The sources. */
        Response22: {
            /** @description The state of the whole service. */
            service: components["schemas"]["ServiceState"];
            /** @description The sources, in the order of the configuration. */
            sources: components["schemas"]["LiveSource"][];
        };
        /** @description The state of the whole service. */
        ServiceState: {
            /**
             * Format: uint
             * @description The number of sources that are not switched off.
             */
            sources: number;
            /**
             * Format: uint
             * @description The number of sources that deliver frames.
             */
            online: number;
            /** @description Whether the broker is connected. */
            broker_connected: boolean;
            /** @description Whether the files of the configuration are valid. If they are not, an earlier configuration is in force. */
            configuration_valid: boolean;
        };
        /** @description A source as it is now. */
        LiveSource: {
            /** @description The name of the source. */
            source: string;
            /** @description The kind, as its key in the configuration: `folder`, `rtsp`, `video`, `http` or `mqtt`. */
            kind: string;
            /** @description Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off. */
            status: string;
            /** @description Why the source delivers no frames. */
            problem?: components["schemas"]["SourceProblem"] | null;
            /** @description What was set for it while the service runs, instead of the value in the configuration. */
            set?: components["schemas"]["SetValue"][];
            /** @description How its frames are taken, for people: `every 1s`, `key frames`. */
            details: string[];
            /** @description The newest frame; absent if there was none since the start. */
            frame?: components["schemas"]["LiveFrame"] | null;
            /** @description The address of its newest small picture; absent if there was no frame since the start. */
            picture?: string | null;
            /** @description The named parts of the frame that are scored separately. */
            regions: components["schemas"]["LiveRegion"][];
            /** @description The labels and rules that it watches, in the order of the configuration. */
            labels: components["schemas"]["ExplainedLabel"][];
        };
        /** @description The newest frame of a source. */
        LiveFrame: {
            /**
             * Format: date-time
             * @description When it was captured.
             */
            captured_at: string;
            /**
             * Format: date-time
             * @description When its picture was captured for the first time: frames that show the same picture repeat its scores.
             */
            scored_at: string;
            /**
             * Format: uint32
             * @description The width in pixels.
             */
            width: number;
            /**
             * Format: uint32
             * @description The height in pixels.
             */
            height: number;
        };
        /** @description A named part of the frame, in fractions of its width and height. */
        LiveRegion: {
            /** @description The name. */
            name: string;
            /**
             * Format: double
             * @description The left edge.
             */
            x: number;
            /**
             * Format: double
             * @description The upper edge.
             */
            y: number;
            /**
             * Format: double
             * @description The width.
             */
            width: number;
            /**
             * Format: double
             * @description The height.
             */
            height: number;
        };
        /** @description Which label, and from which time. */
        Request25: {
            /** @description The name of the source. */
            source: string;
            /** @description The label set. */
            label_set: string;
            /** @description The label. */
            label: string;
            /**
             * Format: date-time
             * @description The first moment.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description The last moment.
             */
            until?: string | null;
        };
        /** @description What is suggested. */
        Response23: {
            /** @description Whether other settings are suggested. */
            outcome: components["schemas"]["Outcome"];
            /** @description The suggested settings; `null` if none are suggested. */
            settings?: components["schemas"]["SuggestedSettings"] | null;
            /** @description The reason, as a sentence: why these settings, or why none. */
            reason: string;
            /** @description The lowest and the highest threshold that do as well; `null` if no settings separate. */
            range?: number[] | null;
            /** @description What the settings of the configuration do with these scores. */
            now: components["schemas"]["Graded"];
            /** @description What the suggested settings do; `null` if none are suggested. */
            then?: components["schemas"]["Graded"] | null;
            /**
             * Format: uint64
             * @description The number of marks that were used. Without any, only the alerts of the service say what the label looks like.
             */
            marks: number;
            /**
             * Format: uint64
             * @description The number of scores that were used.
             */
            scores: number;
            /**
             * Format: uint64
             * @description The number of frames with scores of other prompts, regions or models, which are left out.
             */
            left_out: number;
            /** @description Whether there are more scores than can be used: the newest are left out. Choose a shorter time. */
            is_cut: boolean;
            /** @description The label in the configuration. */
            configured: components["schemas"]["ConfiguredLabel"];
        };
        /** @description Whether other settings are suggested. */
        Outcome: "other" | "good" | "nothing";
        /** @description Suggested settings. All others stay. */
        SuggestedSettings: {
            /**
             * Format: double
             * @description `threshold`.
             */
            threshold: number;
            /**
             * Format: double
             * @description `clear_below`.
             */
            clear_below: number;
            /** @description `hold`, such as `2 of 3`. */
            hold: string;
        };
        /** @description What settings do with the stored scores. */
        Graded: {
            /**
             * Format: uint64
             * @description The number of alerts.
             */
            alerts: number;
            /**
             * Format: double
             * @description The number of alerts in a day.
             */
            a_day: number;
            /**
             * Format: uint64
             * @description Events with an alert; `null` without marks.
             */
            right?: number | null;
            /**
             * Format: uint64
             * @description Alerts without an event, or for an event that already has one; `null` without marks.
             */
            wrong?: number | null;
            /**
             * Format: uint64
             * @description Events without an alert; `null` without marks.
             */
            missed?: number | null;
        };
        /** @description A label as it is in the configuration. */
        ConfiguredLabel: {
            /** @description The words that the model compares pictures with. */
            prompts: string[];
            /** @description The background of the label set. */
            background: string[];
            /** @description Whether the label has settings of its own on this source: then these are changed, and not those of the label set. */
            is_adjusted: boolean;
            /**
             * Format: uint
             * @description The number of sources that have the same settings of the label, this one included.
             */
            sources: number;
            /** @description Whether embeddings are stored, so that other words can be tried. */
            has_embeddings: boolean;
        };
        /** @description There is nothing to say. */
        Request26: Record<string, never>;
        /** @description A support bundle. */
        Response24: {
            /** @description The name of the file, such as `stakeout-support-20261123-081530.tar.gz`. */
            name: string;
            /** @description The files in it. */
            files: components["schemas"]["PackedFile"][];
            /** @description The content of the file (tar, compressed with gzip) as base64. It has less than 5 MB. */
            content: string;
        };
        /** @description A file in a support bundle. */
        PackedFile: {
            /** @description Its name. */
            name: string;
            /** @description What is in it. */
            what: string;
            /**
             * Format: uint
             * @description Its size in bytes.
             */
            bytes: number;
        };
        /** @description There is nothing to say. */
        Request27: Record<string, never>;
        /** @description The facts about a running service. */
        Facts: {
            /** @description The version of the service. */
            version: string;
            /**
             * Format: date-time
             * @description When the service was started.
             */
            since: string;
            /**
             * Format: uint64
             * @description How long it runs, in seconds. The clock may have been set since the start.
             */
            up_s: number;
            /** @description Whether every part is started and frames are watched. */
            ready: boolean;
            /** @description The machine. */
            platform: components["schemas"]["Platform"];
            /** @description The model. */
            model: components["schemas"]["Model"];
            /** @description The parts of the service, and the sources that make no progress. */
            parts: components["schemas"]["ServicePart"][];
            /** @description Whether the newest check of the configuration files found no errors. If it did, an earlier configuration is in force. */
            config_valid: boolean;
            /** @description What delivers alerts; `null` while the service starts. */
            delivery?: components["schemas"]["Delivery"] | null;
            /** @description What is remembered; `null` if nothing is, or while the service starts. */
            history?: components["schemas"]["HistoryFacts"] | null;
            /** @description The disk of the state folder. */
            disk?: components["schemas"]["Disk"] | null;
            /** @description The process. */
            process: components["schemas"]["Process"];
            /** @description What decodes pictures. */
            decoders: components["schemas"]["Decoders"];
            /** @description The number of sources, by their status. */
            sources: components["schemas"]["Sources"];
            /** @description The clock. */
            clock: components["schemas"]["ClockFacts"];
            /**
             * Format: uint
             * @description The number of temporary labels; `null` while the service starts.
             */
            watches?: number | null;
            /**
             * Format: uint
             * @description The clients that receive events now, such as open consoles.
             */
            clients: number;
            /** @description What needs a person, the most urgent first. */
            problems: components["schemas"]["Advice"][];
            /** @description The newest warnings and errors of the log, the newest first. */
            log: components["schemas"]["LogLine"][];
            /** @description The files of a support bundle. */
            bundle: components["schemas"]["BundleFile"][];
        };
        /** @description The machine that the service runs on. */
        Platform: {
            /** @description The operating system, such as `Debian GNU/Linux 13 (trixie)`. */
            system: string;
            /** @description The version of the kernel. */
            kernel: string;
            /** @description The processor architecture, such as `x86_64`. */
            architecture: string;
            /**
             * Format: uint
             * @description The processors that the service may use.
             */
            processors: number;
        };
        /** @description The model that scores frames. */
        Model: {
            /** @description Its name in the configuration. */
            name: string;
            /** @description How it runs; `null` while it is loaded. */
            loaded?: components["schemas"]["LoadedModel"] | null;
            /** @description What the canary found wrong with its device; `null` if nothing. */
            problem?: string | null;
            /**
             * Format: uint64
             * @description Frames that it scored since the start.
             */
            scored: number;
            /**
             * Format: uint64
             * @description Frames with a repeated picture, which received the scores of the earlier one.
             */
            repeated: number;
            /**
             * Format: uint64
             * @description Frames that it could not score.
             */
            failed: number;
            /** @description The figures of its newest batches; `null` before the first one. */
            figures?: components["schemas"]["Figures"] | null;
        };
        /** @description How the model runs. */
        LoadedModel: {
            /** @description Where its files are. */
            files: string;
            /** @description The graph for pictures. */
            graph: string;
            /**
             * Format: uint64
             * @description The size of the graph with its weights.
             */
            bytes: number;
            /** @description The library that runs it. */
            engine: string;
            /** @description The device that runs it. */
            device: string;
            /** @description Why it is this device. */
            reason: string;
        };
        /** @description The figures of the newest batches of the model. */
        Figures: {
            /**
             * Format: uint
             * @description The number of these batches.
             */
            batches: number;
            /**
             * Format: double
             * @description The mean number of pictures in a batch.
             */
            pictures: number;
            /**
             * Format: double
             * @description The mean time of a batch, in milliseconds.
             */
            batch_ms: number;
            /**
             * Format: double
             * @description The mean time of a picture, in milliseconds.
             */
            picture_ms: number;
            /**
             * Format: double
             * @description Pictures that were scored in a second, since the first of these batches.
             */
            per_second: number;
        };
        /** @description A part of the service. */
        ServicePart: {
            /** @description Its name. */
            name: string;
            /** @description What it does. */
            state: components["schemas"]["PartState"];
        };
        /** @description What a part does. */
        PartState: "waiting" | "working" | "stuck";
        /** @description What delivers alerts. */
        Delivery: {
            /** @description Whether the broker is connected. */
            connected: boolean;
            /**
             * Format: uint64
             * @description Alerts that the broker acknowledged since the start.
             */
            published: number;
            /**
             * Format: uint64
             * @description Times the broker refused an alert since the start.
             */
            refused: number;
            /**
             * Format: uint64
             * @description Messages with scores and near misses that were dropped since the start.
             */
            scores_dropped: number;
            /** @description The receivers of alerts, the broker (`mqtt`) first. */
            sinks: components["schemas"]["Sink"][];
            /** @description The outbox. */
            outbox: components["schemas"]["Outbox"];
        };
        /** @description A receiver of alerts. */
        Sink: {
            /** @description `mqtt`, `webhook` or `command`. */
            name: string;
            /**
             * Format: uint64
             * @description Alerts that wait for it.
             */
            waiting: number;
            /**
             * Format: uint64
             * @description The age of the oldest of them in seconds, if it is known.
             */
            oldest_s?: number | null;
            /** @description Why it did not accept alerts last; `null` if it always has since the start. */
            error?: components["schemas"]["SinkError"] | null;
        };
        /** @description Why a receiver did not accept alerts. */
        SinkError: {
            /** @description The cause. */
            cause: string;
            /**
             * Format: date-time
             * @description When it happened last.
             */
            at: string;
            /** @description Whether the receiver has accepted alerts since. */
            is_over: boolean;
        };
        /** @description The alerts that are not delivered yet. */
        Outbox: {
            /** @description Whether alerts are on disk, where they survive a restart. */
            on_disk: boolean;
            /** @description Why alerts are not, or may not be, on disk. */
            why?: string | null;
            /**
             * Format: uint64
             * @description Alerts that wait for a receiver.
             */
            waiting: number;
            /**
             * Format: uint64
             * @description Alerts that were dropped since the start, because too many waited or for too long.
             */
            dropped: number;
            /**
             * Format: uint64
             * @description Snapshots that were dropped since the start.
             */
            snapshots_dropped: number;
            /**
             * Format: uint64
             * @description Other state files that cannot be written.
             */
            state_files_failing: number;
        };
        /** @description What is remembered. */
        HistoryFacts: {
            /** @description Why nothing is remembered at the moment; `null` while it is. */
            failing?: string | null;
            /**
             * Format: uint64
             * @description The size of its files, in bytes.
             */
            bytes: number;
            /**
             * Format: uint64
             * @description The most bytes that they may have.
             */
            max_bytes: number;
            /**
             * Format: uint64
             * @description Seconds after which entries are deleted.
             */
            keep_s: number;
            /**
             * Format: uint64
             * @description Entries that were deleted before their time since the start.
             */
            dropped: number;
            /** @description What it holds; `null` if it cannot be read. */
            entries?: components["schemas"]["Entries"] | null;
        };
        /** @description What the history holds. */
        Entries: {
            /**
             * Format: uint64
             * @description Alerts: raised and cleared.
             */
            alerts: number;
            /**
             * Format: uint64
             * @description Near misses.
             */
            near_misses: number;
            /**
             * Format: uint64
             * @description Marks of people.
             */
            marks: number;
            /**
             * Format: uint64
             * @description Small pictures.
             */
            pictures: number;
            /**
             * Format: uint64
             * @description Embeddings of frames and regions.
             */
            embeddings: number;
            /**
             * Format: date-time
             * @description The oldest moment of which something is remembered.
             */
            oldest?: string | null;
        };
        /** @description The disk of the state folder. */
        Disk: {
            /** @description The state folder. */
            folder: string;
            /**
             * Format: uint64
             * @description All bytes.
             */
            total: number;
            /**
             * Format: uint64
             * @description Bytes that can still be written.
             */
            free: number;
            /** @description Whether so little is free that the history deletes its oldest entries. */
            almost_full: boolean;
        };
        /** @description The process of the service. */
        Process: {
            /**
             * Format: uint64
             * @description Resident memory in bytes.
             */
            memory?: number | null;
            /**
             * Format: uint64
             * @description Open files, sockets included.
             */
            open_files?: number | null;
            /**
             * Format: uint64
             * @description The most open files that are allowed.
             */
            most_open_files?: number | null;
        };
        /** @description What decodes pictures. */
        Decoders: {
            /**
             * Format: uint64
             * @description The bytes that decoders may use together.
             */
            total: number;
            /**
             * Format: uint64
             * @description The bytes that they use.
             */
            used: number;
            /**
             * Format: uint
             * @description Pictures and clips that wait for memory.
             */
            waiting: number;
            /** @description Whether pictures are decoded in processes without rights. */
            sandbox: components["schemas"]["SandboxState"];
            /** @description Why there is no sandbox, if the configuration does not switch it off. */
            why?: string | null;
            /**
             * Format: uint
             * @description The processes that decode now.
             */
            processes: number;
            /**
             * Format: uint64
             * @description Processes that ended instead of decoding a picture, since the start.
             */
            crashes: number;
        };
        /** @description Whether pictures are decoded in processes without rights. */
        SandboxState: "unknown" | "on" | "off" | "impossible";
        /** @description The sources, by their status. */
        Sources: {
            /**
             * Format: uint
             * @description They deliver, or would if there were frames.
             */
            online: number;
            /**
             * Format: uint
             * @description They do not deliver.
             */
            offline: number;
            /**
             * Format: uint
             * @description They are connected and deliver nothing.
             */
            stalled: number;
            /** @description Those that do not deliver, and why. */
            problems: components["schemas"]["FaultySource"][];
        };
        /** @description A source that does not deliver, and why. */
        FaultySource: {
            /** @description The name of the source. */
            source: string;
            /** @description The cause. */
            cause: string;
            /**
             * Format: date-time
             * @description When it failed for the first time since it worked.
             */
            since: string;
            /** @description What to do. */
            remedy: string;
        };
        /** @description The clock. */
        ClockFacts: {
            /**
             * Format: date-time
             * @description The time of the service.
             */
            now: string;
            /** @description Whether a time server has set it. */
            synchronised: boolean;
        };
        /** @description Something that needs a person. */
        Advice: {
            /** @description What it is about, such as `broker` or `source Front Door`. */
            about: string;
            /** @description What is wrong. */
            what: string;
            /** @description What to do. */
            remedy: string;
        };
        /** @description A line of the log. */
        LogLine: {
            /**
             * Format: date-time
             * @description When it was logged.
             */
            at: string;
            /** @description `error` or `warning`. */
            level: components["schemas"]["LogLevel"];
            /** @description The text. */
            text: string;
        };
        /** @description How serious a line of the log is. */
        LogLevel: "error" | "warning";
        /** @description A file of a support bundle. */
        BundleFile: {
            /** @description Its name in the bundle. */
            name: string;
            /** @description What is in it. */
            what: string;
        };
        /** @description Which entries are listed. To continue a list, repeat its request with `until` and `after` of its last entry. */
        Request28: {
            /** @description Only entries of the source with this name. */
            source?: string | null;
            /** @description Only entries of the label with this name; `set/label` names its label set, too. */
            label?: string | null;
            /**
             * Format: date-time
             * @description Only entries of frames that were captured at this time or later.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description Only entries of frames that were captured at this time or earlier.
             */
            until?: string | null;
            /** @description Only entries behind the one with this identifier, whose `captured_at` is `until`. */
            after?: string | null;
            /** @description Only alerts, or only near misses. */
            only?: components["schemas"]["EntryKind"] | null;
            /**
             * @description Only entries that no one has marked.
             * @default false
             */
            unmarked: boolean;
            /**
             * Format: uint32
             * @description The most entries that are listed, from 1 to 10000; 100 if there is none.
             */
            limit?: number | null;
        };
        /** @description A kind of entry. */
        EntryKind: "alerts" | "near_misses";
        /** @description A part of the list. */
        Response25: {
            /** @description The entries, the newest first. */
            entries: components["schemas"]["Entry"][];
            /** @description Whether there are older ones. */
            more: boolean;
        };
        /** @description The camera. It has no `Debug`, because it has a password. */
        Request29: {
            /**
             * @description The address: `rtsp://` or `rtsps://` of a stream, `http://` or `https://` of a picture. References such as `${env:NAME}` are taken
             *     as they are written.
             */
            address: string;
            /** @description The user, if the camera requires one and the address has none. */
            username?: string | null;
            /** @description The password. */
            password?: string | null;
        };
        /** @description The picture of the camera, or what is wrong. */
        Response26: {
            /** @description The key of this kind of source in the configuration: `rtsp` or `http`. */
            kind: string;
            /** @description The picture; absent if there is none. */
            picture?: components["schemas"]["TriedPicture"] | null;
            /** @description Why there is no picture. */
            problem?: components["schemas"]["TryProblem"] | null;
        };
        /** @description The picture of a camera. */
        TriedPicture: {
            /**
             * Format: uint32
             * @description The width of the camera's picture in pixels.
             */
            width: number;
            /**
             * Format: uint32
             * @description The height of the camera's picture in pixels.
             */
            height: number;
            /** @description The picture as JPEG, at most 640 pixels wide and high, in base64. */
            jpeg: string;
        };
        /** @description Why a camera gives no picture. */
        TryProblem: {
            /** @description What is wrong, for people. */
            cause: string;
            /** @description What to do about it. */
            remedy: string;
        };
        /** @description Which label, with which words. */
        Request30: {
            /** @description The name of the source. */
            source: string;
            /** @description The label set. */
            label_set: string;
            /** @description The label. */
            label: string;
            /** @description The words instead of those in the configuration, such as `a red car in the yard`: at least one. */
            prompts: string[];
            /** @description The background of the label set instead of the one in the configuration. */
            background?: string[] | null;
            /**
             * Format: date-time
             * @description The first moment.
             */
            since?: string | null;
            /**
             * Format: date-time
             * @description The last moment.
             */
            until?: string | null;
            /**
             * Format: uint32
             * @description The most points, from 1 to 2000; 500 if there is none.
             */
            points?: number | null;
        };
        /** @description The scores of these words. */
        Response27: {
            /**
             * @description Each point: when its first frame was captured (milliseconds since 1970), the lowest score, the highest score, and the score of its
             *     last frame. Embeddings are stored with 8 bits for each dimension, so the scores differ a little from those of the service.
             */
            points: [
                number,
                number,
                number,
                number
            ][];
            /** @description Times without embeddings: the last before and the first after, in milliseconds since 1970. */
            gaps: number[][];
            /**
             * Format: uint64
             * @description The number of embeddings that were scored.
             */
            embeddings: number;
            /**
             * Format: uint64
             * @description The number of stored embeddings of the source that other models made. They cannot be scored.
             */
            embeddings_of_other_models: number;
            /** @description Whether the labels of the set share a total score of 1: then these words change the scores of the other labels, too. */
            changes_other_labels: boolean;
        };
        /** @description What is watched for, where, and until when. */
        Request31: {
            /** @description The words, such as `a package by the door`. */
            text: string;
            /** @description The name of the source, as in the configuration. */
            source: string;
            /**
             * Format: uint64
             * @description How long, in seconds: from a minute to 31 days.
             */
            seconds: number;
            /**
             * @description Whether it ends with its first alert.
             * @default false
             */
            once: boolean;
            /**
             * Format: float
             * @description The threshold, from 0 to 1; 0.5 if there is none.
             */
            threshold?: number | null;
        };
        /** @description There is nothing to say. */
        ListRequest3: Record<string, never>;
        /** @description The temporary labels. */
        List3: {
            /** @description In the order of their numbers. */
            watches: components["schemas"]["Watched"][];
        };
        /** @description What the client may do, and why. */
        Me: {
            /** @description What the client may do; `null`: it has not signed in. */
            role?: components["schemas"]["Role"] | null;
            /** @description How the client has shown who it is. */
            by: components["schemas"]["By"];
            /**
             * Format: date-time
             * @description The session ends then; absent without a session.
             */
            until?: string | null;
            /** @description Whether a token can be typed to sign in: the configuration has one. */
            has_token: boolean;
        };
        /** @description How a client has shown who it is. */
        By: "socket" | "token" | "session" | "home_assistant" | "nothing";
        /** @description The data of `event: source`. */
        SourceStateEvent: {
            /** @description The name of the source. */
            source: string;
            /** @description Whether the source delivers: `online`, `offline` or `stalled`; `disabled` if it is switched off. */
            status: string;
            /** @description Why the source delivers no frames. */
            problem?: components["schemas"]["SourceProblem"] | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    alerts: {
        parameters: {
            query?: {
                /** @description Only entries of the source with this name. */
                source?: string | null;
                /** @description Only entries of the label with this name; `set/label` names its label set, too. */
                label?: string | null;
                /** @description Only entries of frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only entries of frames that were captured at this time or earlier. */
                until?: string | null;
                /** @description The most entries that are listed, from 1 to 10000; 100 if there is none. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    ask: {
        parameters: {
            query: {
                /** @description The name of the source, as in the configuration. */
                source: string;
                /** @description The texts that are scored together, such as `the gate is open` and `the gate is closed`. */
                text: string[];
                /** @description The sentence around each text, with `{}` in its place; `This is a photo of {}.` if there is none. */
                template?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response2"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    ask_picture: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request3"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response3"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "cancel-watch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CancelRequest"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Watched"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response4"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_check: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request5"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response5"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_edit: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request6"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response6"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_preview: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request7"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response7"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_save: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request8"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response8"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_version: {
        parameters: {
            query: {
                /** @description Its name. */
                id: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response9"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    config_versions: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    controls: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List2"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    disable: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request10"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response10"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    doctor: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request11"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response11"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    enable: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request10"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response10"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    entry: {
        parameters: {
            query: {
                /** @description The identifier of an alert or of a near miss. */
                id: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response12"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    explain: {
        parameters: {
            query: {
                /** @description The name of the source. */
                source: string;
                /** @description Only labels of this label set. */
                label_set?: string | null;
                /** @description Only this label. */
                label?: string | null;
                /** @description The moment in the past; without it, the newest frame. */
                at?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response13"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    forget: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request14"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response14"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    mark: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request15"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response15"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    marks: {
        parameters: {
            query?: {
                /** @description Only entries of the source with this name. */
                source?: string | null;
                /** @description Only entries of the label with this name; `set/label` names its label set, too. */
                label?: string | null;
                /** @description Only entries of frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only entries of frames that were captured at this time or earlier. */
                until?: string | null;
                /** @description The most entries that are listed, from 1 to 10000; 100 if there is none. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ListResponse"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    near_misses: {
        parameters: {
            query?: {
                /** @description Only entries of the source with this name. */
                source?: string | null;
                /** @description Only entries of the label with this name; `set/label` names its label set, too. */
                label?: string | null;
                /** @description Only entries of frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only entries of frames that were captured at this time or earlier. */
                until?: string | null;
                /** @description The most entries that are listed, from 1 to 10000; 100 if there is none. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response16"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    rejudge: {
        parameters: {
            query: {
                /** @description The name of the source. */
                source: string;
                /** @description The label set. */
                label_set: string;
                /** @description The label or the rule. */
                label: string;
                /** @description The first moment. */
                since?: string | null;
                /** @description The last moment. */
                until?: string | null;
                /** @description Another threshold. */
                threshold?: number | null;
                /** @description Another clear level. A clear level that was not configured follows the threshold. */
                clear_below?: number | null;
                /** @description Another rise over the baseline, instead of a threshold. */
                rise?: number | null;
                /** @description Another clear level as a rise over the baseline. */
                clear_rise?: number | null;
                /** @description The frames that must agree, such as `2 of 3`. */
                hold?: string | null;
                /** @description How long they must agree, such as `5s`. */
                for?: string | null;
                /** @description The time after a raise without another one, such as `5m`. */
                cooldown?: string | null;
                /** @description The hours in which the label may be raised, such as `22:00-06:00`; `always` removes them. */
                active?: string[];
                /** @description The most alerts that are listed, from 1 to 1000; 60 if there is none. The counts are of all alerts. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response17"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    replay: {
        parameters: {
            query?: {
                /** @description Only this source. */
                source?: string | null;
                /** @description The first moment. */
                since?: string | null;
                /** @description The last moment. */
                until?: string | null;
                /** @description Settings that are tried, such as `yard/person.threshold=0.55`. */
                set?: string[];
                /** @description Leave the alerts out: only their numbers are wanted. */
                counts_only?: boolean;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response18"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    schema: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    scores: {
        parameters: {
            query: {
                /** @description The name of the source. */
                source: string;
                /** @description Only labels of this label set. */
                label_set?: string | null;
                /** @description Only this label. */
                label?: string | null;
                /** @description The first moment; without it, the first stored frame. */
                since?: string | null;
                /** @description The last moment; without it, the newest stored frame. */
                until?: string | null;
                /** @description The most points of each label, from 1 to 2000; 500 if there is none. Answers with very many labels have fewer. */
                points?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response19"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    search: {
        parameters: {
            query?: {
                /** @description The words, such as `a dog at the gate`. They may be left out if frames are to be similar to a picture or to a stored frame. */
                text?: string;
                /** @description The source of the stored frame that frames are to be similar to. */
                like_source?: string | null;
                /** @description When that frame was captured. */
                like_at?: string | null;
                /** @description The region of that frame; the whole frame if there is none. */
                like_region?: string | null;
                /** @description Only frames of the source with this name. */
                source?: string | null;
                /** @description Only frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only frames that were captured before this time. */
                until?: string | null;
                /** @description The number of results at most, from 1 to 1000; 20 if there is none. */
                top?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response20"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    set: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request21"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response10"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "sign-in": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request22"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response21"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "sign-out-all": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SignOutAll"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SignedOut"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    snooze: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request23"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response10"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sources: {
        parameters: {
            query?: {
                /** @description Only the sources with these names. */
                sources?: string[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response22"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    suggest: {
        parameters: {
            query: {
                /** @description The name of the source. */
                source: string;
                /** @description The label set. */
                label_set: string;
                /** @description The label. */
                label: string;
                /** @description The first moment. */
                since?: string | null;
                /** @description The last moment. */
                until?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response23"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    support_bundle: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request26"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response24"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    system: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Facts"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    timeline: {
        parameters: {
            query?: {
                /** @description Only entries of the source with this name. */
                source?: string | null;
                /** @description Only entries of the label with this name; `set/label` names its label set, too. */
                label?: string | null;
                /** @description Only entries of frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only entries of frames that were captured at this time or earlier. */
                until?: string | null;
                /** @description Only entries behind the one with this identifier, whose `captured_at` is `until`. */
                after?: string | null;
                /** @description Only alerts, or only near misses. */
                only?: ("alerts" | "near_misses") | null;
                /** @description Only entries that no one has marked. */
                unmarked?: boolean;
                /** @description The most entries that are listed, from 1 to 10000; 100 if there is none. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response25"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    try_source: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request29"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response26"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    try_words: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request30"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response27"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    "watch-for": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Request31"];
            };
        };
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Watched"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    watches: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The answer. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List3"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The document. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    me: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The role of the client. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    events: {
        parameters: {
            query?: {
                /** @description Only events of these sources; all sources if there is none. */
                sources?: string[];
                /** @description Only events of these kinds; alerts and scores if there is none. */
                kinds?: ("alert" | "scores" | "source" | "service" | "beat")[];
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Events until the client closes the connection. `event: alert` has an alert as data, `event: scores` the scores of a label set on a source, `event: source` the status and the problem of a source, `event: service` the state of the whole service, and `event: lost` the number of events that this client has lost because it reads too slowly. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    newest: {
        parameters: {
            query: {
                /** @description The name of the source, as in the configuration. */
                source: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The picture. The header `Stakeout-Captured-At` says when its frame was captured, and `Stakeout-Changed`, if it is there, the part that is different from the picture before: left edge, upper edge, width and height, as fractions of the frame. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/jpeg": string;
                };
            };
            /** @description The client has it: its `If-None-Match` is the ETag. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    picture: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The name of the picture. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The picture. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/jpeg": string;
                };
            };
            /** @description The client has it: its `If-None-Match` is the ETag. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    search_picture: {
        parameters: {
            query?: {
                /** @description The words, such as `a dog at the gate`. They may be left out if frames are to be similar to a picture or to a stored frame. */
                text?: string;
                /** @description The source of the stored frame that frames are to be similar to. */
                like_source?: string | null;
                /** @description When that frame was captured. */
                like_at?: string | null;
                /** @description The region of that frame; the whole frame if there is none. */
                like_region?: string | null;
                /** @description Only frames of the source with this name. */
                source?: string | null;
                /** @description Only frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only frames that were captured before this time. */
                until?: string | null;
                /** @description The number of results at most, from 1 to 1000; 20 if there is none. */
                top?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "image/*": string;
            };
        };
        responses: {
            /** @description What was found. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Response20"];
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    truth: {
        parameters: {
            query?: {
                /** @description Only entries of the source with this name. */
                source?: string | null;
                /** @description Only entries of the label with this name; `set/label` names its label set, too. */
                label?: string | null;
                /** @description Only entries of frames that were captured at this time or later. */
                since?: string | null;
                /** @description Only entries of frames that were captured at this time or earlier. */
                until?: string | null;
                /** @description The most entries that are listed, from 1 to 10000; 100 if there is none. */
                limit?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The file. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/csv": string;
                };
            };
            /** @description What is wrong, where, and what to do. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
